"""What a person sees while a run goes on: the journal, read as it grows, one line at a time."""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from .evaluation import SCALES

INTERVAL_S = 2.0
"""A line at most this often, but always at the border of stages."""


class Progress:
    """A thread that prints the last epoch of a journal; use as a context."""

    def __init__(self, journal: Path, total_epochs: int) -> None:
        self.journal, self.total_epochs = journal, total_epochs
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Progress:
        self.begin = self.journal.stat().st_size if self.journal.exists() else 0
        self.began = time.monotonic()
        self.first_step: int | None = None
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self.thread.join()

    def _follow(self) -> None:
        position, stopped = self.begin, False
        while not stopped:
            stopped = self.stopped.wait(INTERVAL_S)
            records, position = _new_records(self.journal, position)
            for record in _worth_a_line(records):
                self._print(record)

    def _print(self, record: dict[str, Any]) -> None:
        if record["type"] == "calibration":
            click.echo(calibration_line(record))
        else:
            self.first_step = self.first_step or record["step"]
            click.echo(epoch_line(record, self._time_left(record["step"])))
        sys.stdout.flush()

    def _time_left(self, step: int) -> float:
        """Seconds until the end at the pace since the first epoch that was seen."""
        done = step - self.first_step + 1
        return (time.monotonic() - self.began) / done * (self.total_epochs - step)


def _new_records(journal: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    """Whole lines after a position, and the position after them. A shorter file was cut: from its
    end.
    """
    if not journal.exists():
        return [], 0
    with journal.open("rb") as file:
        file.seek(min(position, journal.stat().st_size))
        lines, position = [], file.tell()
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines.append(json.loads(line))
            position += len(line)
    return lines, position


def _worth_a_line(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calibration, the last epoch of each stage among them, and the last of all."""
    shown = []
    for record, following in zip_longest(records, records[1:]):
        last_of_stage = following is None or following.get("stage") != record.get("stage")
        if record["type"] == "calibration" or (record["type"] == "epoch" and last_of_stage):
            shown.append(record)
    return shown


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


def calibration_line(record: dict[str, Any]) -> str:
    """The coefficients of the calibration stage."""
    found = (record[f"{label}_coeff"] for label in SCALES)
    named = ", ".join(f"{label} {value:.4g}" for label, value in zip(SCALES, found, strict=True))
    return f"calibration: coefficients {named}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as one would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
