"""`lightpfp-ray train`: the options, and the run they describe."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    ManyValues,
    cache,
    cpus_per_worker,
    data,
    device,
    in_mlflow,
    keys,
    on_ray,
    skip_bad,
)


@click.command(cls=ManyValues)
@click.argument("control", type=click.Path(path_type=Path))
@data
@click.option(
    "--test-data",
    multiple=True,
    metavar="PATH...",
    help="The test set; without it a tenth of the data, chosen by content and seed.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the run: potential, metrics, journal, pictures; the same command goes on.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
@cpus_per_worker
@device
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As rc: mtp_config.rc=6."
)
@click.option(
    "--time-budget",
    metavar="TIME",
    help="Choose total_epoch so that the command ends in this time: 90s, 30m, 2h.",
)
@keys
@click.option("--fresh", is_flag=True, help="Remove an earlier run from the output folder first.")
@click.option(
    "--resume-anyway",
    is_flag=True,
    help="Go on with the run in the folder although its control file or its data have changed.",
)
@click.option(
    "--compare",
    multiple=True,
    metavar="FOLDER...",
    help="Earlier runs, whose test errors the report shows beside this one's.",
)
@skip_bad
@in_mlflow
@cache
@on_ray
def train(**options) -> None:
    """Train a potential as CONTROL says, in stages, data-parallel on Ray, recorded in MLflow.

    \b
    lightpfp-ray train control.json --data 'data/*.extxyz' --output run
    lightpfp-ray train control.json --data train/ --test-data test.extxyz --output run --workers 4

    A killed or interrupted run goes on with the same command. Energies are in eV, lengths in A,
    stress in eV/A^3, positive under tension.
    """
    from ..config import load_control
    from ..run import Request, run

    control = load_control(options.pop("control"), options.pop("overrides"))
    run(control, Request(**options))
