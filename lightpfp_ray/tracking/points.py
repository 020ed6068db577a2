"""What MLflow is told of a journal: names and values of each record, read as the journal grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
