"""`lightpfp-ray track`: bring MLflow up to date with an output folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--tracking-uri", help="MLflow server or store; default: where DIR was recorded before."
)
def track(folder: Path, tracking_uri: str | None) -> None:
    """Send to MLflow what it lacks of the training in DIR, the --output of `train`.

    \b
    lightpfp-ray track run
    lightpfp-ray track run --tracking-uri http://localhost:5000

    For a run whose MLflow server was down, one that was stopped, or one that was never recorded.
    Nothing is sent twice.
    """
    from ..tracking import track as bring_up_to_date

    click.echo("\n".join(bring_up_to_date(folder, tracking_uri)))
