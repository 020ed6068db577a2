"""Manifest: what is in a cache of prepared structures, what was skipped and why; manifest.json
beside the sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_atomically

NAME = "manifest.json"
SKIPPED = "skipped.csv"
"""Every skipped structure beside the manifest: source, reason."""

EXAMPLES = 5
"""Skipped structures that the manifest names, for each reason."""


@dataclass(frozen=True)
class Manifest:
    """Counts are by split, "train" and "test"; lengths in A, energies in eV."""

    path: Path  # of the cache; not in the file
    fingerprint: str  # sha256 of inputs and options: the key of the cache
    files: Mapping[str, str]  # path -> sha256 of its content
    cutoff: float
    options: Mapping[str, Any]  # of `inputs.Options`, as JSON
    kept: Mapping[str, int]  # structures
    n_atoms: Mapping[str, int]
    missing: Mapping[str, Mapping[str, int]]  # split -> label -> structures without it
    skipped: Mapping[str, int] = field(default_factory=dict)  # reason -> structures
    skipped_examples: tuple[tuple[str, str], ...] = ()  # (source, reason)
    elements: tuple[int, ...] = ()  # atomic numbers, ascending
    min_distance: float | None = None  # shortest edge, None without any
    duplicates_across: int = 0  # test structures whose equal is in the training set
    moved: int = 0  # structures moved so that neither split is empty
    reused: bool = False  # not in the file

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """The manifest of a cache folder. Raises UserError if it is absent or not one."""
        try:
            content = json.loads((Path(path) / NAME).read_text())
            content["skipped_examples"] = tuple(tuple(pair) for pair in content["skipped_examples"])
            content["elements"] = tuple(content["elements"])
            return cls(path=Path(path), **content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is not a cache of prepared structures ({_line(error)}): delete it"
            ) from error

    def save(self) -> None:
        """Write manifest.json into the cache folder."""
        write_atomically(self.path / NAME, json.dumps(self.as_dict(), indent=2).encode())

    def as_dict(self) -> dict:
        """Everything but where the cache lies, for JSON and for MLflow."""
        content = asdict(self)
        del content["path"], content["reused"]
        return content

    def as_reused(self, files: Mapping[str, str]) -> Manifest:
        """The same manifest, found again for files of the same content."""
        return replace(self, reused=True, files=files)

    def lines(self) -> list[str]:
        """What a person is told."""
        found = [
            f"{'reused' if self.reused else 'prepared'} {self.kept['train']} train and "
            f"{self.kept['test']} test structures"
            f" ({self.n_atoms['train']} and {self.n_atoms['test']} atoms) in {self.path}"
        ]
        found += [
            f"skipped {n}: {reason} (as {self._example(reason)})"
            for reason, n in sorted(self.skipped.items())
        ]
        if self.duplicates_across:
            found.append(f"{self.duplicates_across} test structures are also in the training set")
        if self.moved:
            found.append(
                f"{self.moved} structures were moved so that neither the training nor the "
                "test set is empty"
            )
        return found

    def _example(self, reason: str) -> str:
        return next((source for source, why in self.skipped_examples if why == reason), "?")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
