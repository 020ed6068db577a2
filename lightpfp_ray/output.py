"""The output folder of a training: what is in it, and whether a run may begin or go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import write_atomically


@dataclass(frozen=True)
class OutputFolder:
    """Paths of a training's files. Nothing is written before `begin`."""

    path: Path

    @property
    def control(self) -> Path:
        """The resolved control file."""
        return self.path / "control.json"

    @property
    def data(self) -> Path:
        """The manifest of the prepared structures."""
        return self.path / "data.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def potential(self) -> Path:
        return self.path / "potential"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def parity(self) -> Path:
        return self.path / "parity.png"

    @property
    def losses(self) -> Path:
        return self.path / "losses.png"

    @property
    def report(self) -> Path:
        """One page that tells the whole run."""
        return self.path / "report.html"

    @property
    def skipped(self) -> Path:
        """Structures that were left out, by file and index, each with its reason."""
        return self.path / "skipped.csv"

    @property
    def is_finished(self) -> bool:
        """Metrics are what a run writes last."""
        return self.metrics.exists()

    def refuse_another_run(self, control: dict[str, Any]) -> None:
        """Raise UserError where the folder holds anything but a run of this control file."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, expected a folder for --output: name another")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if not self.control.exists():
            raise UserError(
                f"{self.path} holds files that are not a training's: give --output a new folder"
            )
        self._refuse_differences(self.control, control, "control file")

    def refuse_other_data(self, manifest: dict[str, Any]) -> None:
        """Raise UserError where the run in the folder was begun on other structures."""
        if self.data.exists():
            self._refuse_differences(self.data, manifest, "data", ("fingerprint",))

    def _refuse_differences(
        self, file: Path, given: dict[str, Any], what: str, keys: tuple[str, ...] = ()
    ) -> None:
        before = dict(leaves(_read(file)))
        now = dict(leaves(given))
        changed = [
            f"{key} was {_shown(before.get(key))}, is {_shown(now.get(key))}"
            for key in sorted(keys or before | now)
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.path} holds the run of another {what} ({'; '.join(changed[:4])}"
                f"{'; ...' if len(changed) > 4 else ''}): name another --output, or start anew in "
                "this one with --fresh"
            )

    def begin(self, control: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Make the folder and write what the run is of. Raises UserError where that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file, content in ((self.control, control), (self.data, manifest)):
                write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}): give --output another folder"
            ) from None

    def remove_run(self) -> None:
        """Remove what an earlier run left, and nothing else."""
        for path in (self.checkpoints, self.potential):
            shutil.rmtree(path, ignore_errors=True)
        written = (
            self.metrics,
            self.journal,
            self.parity,
            self.losses,
            self.report,
            self.skipped,
        )
        for path in (*written, self.data, self.control):
            path.unlink(missing_ok=True)
        for path in self.path.glob("tracking*.json"):
            path.unlink()


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): start anew with --fresh") from None


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested objects and their values; a list is a value."""
    if not isinstance(tree, dict):
        yield name, tree
        return
    for key, value in tree.items():
        yield from leaves(value, f"{name}.{key}" if name else key)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
