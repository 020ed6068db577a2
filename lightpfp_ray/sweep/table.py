"""The outcome of a sweep: a row a trial, and which potentials no other one beats."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .trials import State, Trial, TrialFolder

UNITS = {"energy": "meV/atom", "forces": "meV/A", "stress": "meV/A^3"}


@dataclass(frozen=True)
class Row:
    """What came out of a trial; None where it was not found."""

    trial: Trial
    state: State  # "open" only where the sweep was interrupted
    why: str
    error: float | None  # the objective, eV/atom, eV/A or eV/A^3; of a stopped one its last
    us_per_atom: float | None
    basis_functions: int | None
    parameters: int | None
    epochs: int
    seconds: float  # of training: the search for a start and all epochs

    @property
    def finished(self) -> bool:
        return self.state == "finished" and self.error is not None


def row_of(trial: Trial, folder: TrialFolder, failure: str, objective: str) -> Row:
    """`failure`: why it ended now, where its folder cannot know."""
    sizes = folder.sizes()
    state = folder.state
    return Row(
        trial=trial,
        state="failed" if state == "open" and failure else state,
        why=folder.why or failure if state != "finished" else "",
        error=folder.figure(objective),
        us_per_atom=sizes.get("us_per_atom"),
        basis_functions=sizes.get("basis_functions"),
        parameters=sizes.get("parameters"),
        epochs=len(folder.epochs()),
        seconds=folder.seconds(),
    )


def best(rows: Iterable[Row]) -> Row | None:
    """The finished trial of the smallest error."""
    return min((row for row in rows if row.finished), key=lambda row: row.error, default=None)


def front(rows: Iterable[Row]) -> list[Row]:
    """The finished trials that no other one beats in error and in time, the quickest first."""
    known = [row for row in rows if row.finished and row.us_per_atom is not None]
    kept: list[Row] = []
    for row in sorted(known, key=lambda row: (row.us_per_atom, row.error)):
        if not kept or row.error < kept[-1].error:
            kept.append(row)
    return kept


def title(objective: str) -> str:
    """As a person reads it: test force MAE (meV/A)."""
    split, _, name = objective.partition("/")
    label, kind = name.split("_")
    return f"{split} {label} {kind.upper()} ({UNITS[label]})"


def lines(rows: Sequence[Row], objective: str) -> list[str]:
    """The table: the smallest error first; * where no other potential is better and quicker."""
    starred = {row.trial.name for row in front(rows)}
    width = max(20, *(len(row.trial.label) for row in rows))
    head = title(objective)
    found = [
        f"  {'trial':{width}} {'basis':>6} {'parameters':>10} {'us/atom':>8}  {head}  epochs  time"
    ]
    for row in sorted(rows, key=_rank):
        star = "*" if row.trial.name in starred else " "
        cells = [
            _cell(row.basis_functions, ".0f", 6),
            _cell(row.parameters, ".0f", 10),
            _cell(row.us_per_atom, ".2f", 8),
            " " + _cell(None if row.error is None else 1e3 * row.error, ".4g", len(head)),
            f" {row.epochs:6d}  {row.seconds:.0f} s",
        ]
        if row.state != "finished":
            cells.append(f"  {row.state}: {row.why}" if row.why else f"  {row.state}")
        found.append(f"{star} {row.trial.label:{width}} " + " ".join(cells).rstrip())
    return found


def _rank(row: Row) -> tuple[int, float]:
    order: Mapping[State, int] = {"finished": 0, "stopped": 1, "open": 2, "failed": 3}
    return order[row.state], float("inf") if row.error is None else row.error


def _cell(value: float | None, form: str, width: int) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


def as_csv(rows: Sequence[Row], objective: str) -> str:
    """All rows; errors in eV/atom, eV/A, eV/A^3; a column a parameter."""
    keys = list(dict.fromkeys(key for row in rows for key in row.trial.point))
    columns = ["basis_functions", "parameters", "us_per_atom", "epochs", "seconds", "state", "why"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["folder", *keys, objective, *columns])
    for row in sorted(rows, key=_rank):
        values = [row.trial.point.get(key) for key in keys]
        writer.writerow(
            [row.trial.name, *values, row.error, *(getattr(row, name) for name in columns)]
        )
    return text.getvalue()


def saved(rows: Sequence[Row], objective: str, path: Path) -> None:
    """The table as a CSV file."""
    path.write_text(as_csv(rows, objective))
