"""A trial: values, the control file that they make, and the folder that tells how it went.

A folder with metrics.json is finished; ended.json says that a trial was stopped, or failed in a way
that would repeat itself, and why. Anything else is a trial to begin, or to go on with.
"""

from __future__ import annotations

import hashlib
import json
import string
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import ControlFile
from ..files import write_atomically
from ..journal import Journal, records
from ..output import OutputFolder
from .space import Point

State = Literal["finished", "stopped", "failed", "open"]

SIZES = "sizes"
"""Type of the record of what a potential costs."""

LONGEST_NAME = 80
PLAIN = {*string.ascii_letters, *string.digits, *"=,._-"}
"""What the name of a folder is made of."""


@dataclass(frozen=True)
class Trial:
    """One point of a sweep."""

    point: Point
    control: ControlFile

    @classmethod
    def of(cls, base: dict[str, Any], point: Point) -> Trial:
        """Raises pydantic's ValidationError."""
        return cls(point, ControlFile.model_validate(changed(base, point)))

    @property
    def label(self) -> str:
        """As people read it: levmax 8, lr_list [0.1, 0.01]."""
        return ", ".join(f"{key} {text}" for key, text in self.values.items())

    @property
    def values(self) -> dict[str, str]:
        """What was varied, by the last part of the keys, in short."""
        return {key: _shown(value) for key, value in _flat(self.point).items()}

    @property
    def name(self) -> str:
        """Of its folder; another point has another name."""
        text = ",".join(f"{key}={_plain(value)}" for key, value in _flat(self.point).items())
        if len(text) <= LONGEST_NAME and set(text) <= PLAIN:
            return text
        key = json.dumps(self.point, sort_keys=True)
        plain = "".join(c for c in text if c in PLAIN)
        return f"{plain[:LONGEST_NAME]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

    @property
    def n_epochs(self) -> int:
        return sum(stage.epochs for stage in self.control.stages)


def changed(tree: dict[str, Any], point: Point) -> dict[str, Any]:
    """The tree with the values of dotted keys in place of its own; an object is merged into a
    section.
    """
    tree = deepcopy(tree)
    for key, value in point.items():
        *sections, last = key.split(".")
        inner = tree
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        both = isinstance(value, dict) and isinstance(inner.get(last), dict)
        inner[last] = inner[last] | value if both else deepcopy(value)
    return tree


def _flat(point: Point) -> Point:
    """Values by the last part of their keys."""
    flat: Point = {}
    for key, value in point.items():
        flat |= value if isinstance(value, dict) else {key.rpartition(".")[2]: value}
    return flat


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "_".join(map(_plain, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class TrialFolder:
    """The output folder of a trial, and its own record."""

    output: OutputFolder

    @classmethod
    def at(cls, path: Path) -> TrialFolder:
        return cls(OutputFolder(path))

    @property
    def _values(self) -> Path:
        return self.output.path / "trial.json"

    @property
    def _ended(self) -> Path:
        return self.output.path / "ended.json"

    @property
    def state(self) -> State:
        if self.output.is_finished:
            return "finished"
        return json.loads(self._ended.read_text())["state"] if self._ended.exists() else "open"

    @property
    def why(self) -> str:
        """Why it ended before its end; "" where it did not."""
        return json.loads(self._ended.read_text())["why"] if self._ended.exists() else ""

    def begin(self, trial: Trial, manifest: dict[str, Any]) -> None:
        """Make the folder. Raises UserError where it cannot be written."""
        self.output.begin(trial.control.resolved(), manifest)
        write_atomically(self._values, json.dumps(trial.point).encode())

    def end(self, state: State, why: str) -> None:
        """Note that the trial ended before its last epoch, and is not to go on."""
        write_atomically(self._ended, json.dumps({"state": state, "why": why}).encode())

    @property
    def point(self) -> Point | None:
        """Its values, None where it never began."""
        return json.loads(self._values.read_text()) if self._values.exists() else None

    @property
    def began(self) -> float:
        return self._values.stat().st_mtime

    def epochs(self) -> list[dict[str, Any]]:
        """The records of its epochs so far."""
        return [r for r in records(self.output.journal) if r["type"] == "epoch"]

    def seconds(self) -> float:
        """That it has trained so far: the search for a start and the epochs."""
        return sum(r.get("seconds", 0.0) for r in records(self.output.journal))

    def figure(self, name: str) -> float | None:
        """An error as test/forces_mae: of the finished potential, or else of its last epoch."""
        split, label = name.split("/")
        if self.output.is_finished:
            return json.loads(self.output.metrics.read_text())[split][label]
        epochs = self.epochs()
        return epochs[-1][split][label] if epochs else None

    def sizes(self) -> dict[str, float]:
        """What was measured of the finished potential, by name; nothing before."""
        found = [r for r in records(self.output.journal) if r["type"] == SIZES]
        return found[-1]["metrics"] if found else {}

    def note_sizes(self, sizes: dict[str, float]) -> None:
        """Write what was measured of the potential into the journal, after its end."""
        step = records(self.output.journal)[-1]["step"]
        Journal(self.output.journal).append(
            {"type": SIZES, "metrics": sizes, "step": step, "time": time.time()}
        )
