"""What MLflow is told of a journal: names and values of each record, read as the journal grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..journal import lines_after

SPLITS = ("train", "test")
SECONDS = "seconds_per_epoch"
"""The one figure that a repeated epoch does not repeat."""


@dataclass(frozen=True)
class Point:
    """One value of one curve; `time` in seconds since 1970."""

    key: str
    value: float
    step: int
    time: float


def points(record: dict[str, Any]) -> Iterator[Point]:
    """The curves' points in a record, none for what is absent, and none for a record of a type
    that is not known, unless it brings `metrics` by name.
    """
    for key, value in _values(record):
        if value is not None:
            yield Point(key, float(value), record["step"], record["time"])


def _values(record: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    match record["type"]:
        case "epoch":
            for split in SPLITS:
                for name, value in record[split].items():
                    yield f"{record['stage']}/{split}/{name}", value
            yield "lr", record["lr"]
            yield SECONDS, record["seconds"]
        case "calibration":
            for name, value in record.items():
                if name.endswith("_coeff"):
                    yield f"calibration/{name}", value
        case "end":
            for split in SPLITS:
                for name, value in record[split].items():
                    yield f"final/{split}/{name}", value
    yield from record.get("metrics", {}).items()


def place(record: dict[str, Any]) -> tuple[int, int]:
    """Of an epoch: its stage, counted from 0, and how many epochs of the stage are done."""
    return record["stage_index"], record["epoch"]


class Follower:
    """Reads a journal as it grows, and from the beginning again where it was cut and rewritten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin_anew()

    def begin_anew(self) -> None:
        self.position, self.last = 0, b""

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Records that are new, and whether they begin at the beginning of the file.

        The last line that was read is read again: another one in its place, or none, means that
        the journal was cut. Lines carry the time they were written, so no two are alike.
        """
        lines = lines_after(self.path, self.position - len(self.last))
        if self.last and lines[:1] != [self.last]:
            self.begin_anew()
            lines = lines_after(self.path, 0)
        first = not self.position
        new = lines[1:] if self.last else lines
        if new:
            self.position += sum(len(line) for line in new)
            self.last = new[-1]
        return [json.loads(line) for line in new], first
