"""What a person sees while a run goes on: the journal, read as it grows, one line at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from .evaluation import SCALES
from .journal import Follower, lines_after

INTERVAL_S = 2.0
"""A line at most this often, but always at the border of stages."""


class Progress:
    """A thread that prints the last epoch of a journal, and the lines of a file of notes; use as a
    context.
    """

    def __init__(self, journal: Path, total_epochs: int, notes: Path) -> None:
        self.follower, self.total_epochs = Follower(journal), total_epochs
        self.notes, self.noted = notes, 0  # bytes
        self.read = self.shown = 0  # records
        self.first: dict[str, Any] | None = None  # epoch that was seen
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Progress:
        self._new_records()
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self.thread.join()

    def _follow(self) -> None:
        stopped = False
        while not stopped:
            stopped = self.stopped.wait(INTERVAL_S)
            self._print_notes()
            for record in _worth_a_line(self._new_records()):
                self._print(record)

    def _new_records(self) -> list[dict[str, Any]]:
        """What was not shown yet: a journal that is cut back is written again with the same."""
        records, anew = self.follower.read()
        begin = 0 if anew else self.read
        self.read = begin + len(records)
        new = records[max(0, self.shown - begin) :]
        self.shown = max(self.shown, self.read)
        return new

    def _print_notes(self) -> None:
        for line in lines_after(self.notes, self.noted):
            self.noted += len(line)
            click.echo(f"note: {line.decode().strip()}")
        sys.stdout.flush()

    def _print(self, record: dict[str, Any]) -> None:
        if record["type"] == "calibration":
            click.echo("\n".join(calibration_lines(record)))
        elif record["type"] == "note":
            click.echo(f"note: {record['text']}")
        elif record["type"] != "epoch":
            click.echo(border_line(record))
        else:
            self.first = self.first or record
            click.echo(epoch_line(record, self._time_left(record)))
        sys.stdout.flush()

    def _time_left(self, record: dict[str, Any]) -> float:
        """Seconds until the end at the pace since the first epoch that was seen."""
        done = record["step"] - self.first["step"] + 1
        took = record["time"] - self.first["time"] + self.first["seconds"]
        return took / done * (self.total_epochs - record["step"])


def _worth_a_line(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calibration, notes, where a stage goes back or stops, and the last epoch before each of them,
    of each stage, and of all.
    """
    shown = []
    for record, following in zip_longest(records, records[1:], fillvalue={}):
        last = any(following.get(key) != record.get(key) for key in ("type", "stage"))
        told = record["type"] in ("calibration", "note", "rollback", "stop")
        if told or (record["type"] == "epoch" and last):
            shown.append(record)
    return shown


def border_line(record: dict[str, Any]) -> str:
    """Where a stage goes back or stops, and why."""
    why = record.get("why") or f"diverged, begins again with lr {record['lr']:.2g}"
    return f"{record['stage']:>11} {record['epoch']:4d}  {why}"


def epoch_line(record: dict[str, Any], seconds_left: float) -> str:
    """One epoch: losses, test errors in the units that people read, pace, time left."""
    errors = record["test"] if record["test"]["loss"] is not None else record["train"]
    name = "test" if errors is record["test"] else "train"
    parts = [
        f"{letter} {scale * errors[f'{label}_mae']:.3g} {unit}"
        for letter, (label, (scale, unit)) in zip("EFS", SCALES.items(), strict=True)
        if errors[f"{label}_mae"] is not None
    ]
    return (
        f"{record['stage']:>11} {record['epoch']:4d}  loss {record['train']['loss']:.4g}  "
        f"{name} MAE {', '.join(parts)}  lr {record['lr']:.2g}  "
        f"{record['seconds']:.2f} s/epoch, {duration(seconds_left)} left"
    )


def calibration_lines(record: dict[str, Any]) -> list[str]:
    """The coefficients of the calibration stage, and the weighted losses with those before."""
    rows = {
        "coefficient": {label: record[f"{label}_coeff"] for label in SCALES},
        "weighted loss before": record["before"],
        "weighted loss now": record["after"],
    }
    head = f"{'calibration':>22}" + "".join(f"{label:>11}" for label in SCALES)
    return [head, *(f"{name:>22}{_cells(values)}" for name, values in rows.items())]


def _cells(values: Mapping[str, float | None]) -> str:
    found = (values[label] for label in SCALES)
    return "".join(f"{'-' if v is None else f'{v:.4g}':>11}" for v in found)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as one would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
