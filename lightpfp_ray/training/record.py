"""The journal: what happened, written by rank 0 alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol


class Journal(Protocol):
    """Where records lie, one after the other."""

    def append(self, record: dict) -> None: ...
    def position(self) -> int: ...
    def truncate(self, position: int) -> None: ...


class Record:
    """The journal, as seen from a worker: of its records those of rank 0 count."""

    def __init__(self, journal: Journal, rank: int) -> None:
        self.journal, self.rank = journal, rank

    def write(self, kind: str, step: int, content: Mapping[str, object]) -> None:
        if self.rank == 0:
            self.journal.append({"type": kind, **content, "step": step, "time": time.time()})

    def position(self) -> int:
        return self.journal.position()

    def truncate(self, position: int) -> None:
        if self.rank == 0:
            self.journal.truncate(position)
