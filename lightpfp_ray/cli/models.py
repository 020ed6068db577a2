"""`lightpfp-ray models`: the pretrained models, and which of them are here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything that their cards say, as JSON.")
def models(as_json: bool) -> None:
    """The pretrained models that `mtp_config.pretrained_model` and `lightpfp_ray.load` know.

    Errors are MAE against the teacher on structures left out: meV/atom and meV/A.
    """
    cards = _cards()
    if as_json:
        click.echo(json.dumps(cards, indent=1))
    else:
        click.echo("\n".join(_table(cards)))


def _cards() -> dict[str, dict[str, Any] | None]:
    """What is known of each name; None where it has no weights here."""
    from ..zoo.models import NAMES, files_of, found

    return {
        name: json.loads(files_of(name)[0].read_text())["origin"]["card"] if found(name) else None
        for name in NAMES
    }


def _table(cards: dict[str, dict[str, Any] | None]) -> Iterator[str]:
    titles = ("elements", "cutoff A", "parameters", "us/atom", "E", "F")
    yield f"{'':24}" + "".join(f"{title:>12}" for title in titles) + "  teacher, licence"
    for name, card in cards.items():
        yield f"{name:24}" + (_row(card) if card else "  no weights in this version")
    for name, card in cards.items():
        if card:
            yield f"\n{name}: {' '.join(card['elements'])}"


def _row(card: dict[str, Any]) -> str:
    found, teacher = card["test"]["all"], card["teacher"]
    cells = (
        f"{len(card['elements'])}",
        f"{card['cutoff']:g}",
        f"{card['parameters']}",
        f"{card['us_per_atom']:.2f}",
        f"{1e3 * found['energy_mae']:.0f}",
        f"{1e3 * found['forces_mae']:.0f}",
    )
    whole = "".join(f"{cell:>12}" for cell in cells)
    return f"{whole}  {teacher['name']} {teacher['version']}, {teacher['licence']}"
