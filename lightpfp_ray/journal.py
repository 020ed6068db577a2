"""The journal of a run: one JSON object a line, appended as things happen, the truth of the run.

A checkpoint remembers the length of the journal at its place. A run that goes on from it cuts the
journal back to that length and writes the same epochs again, so that each stands there once.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError


@dataclass(frozen=True)
class Journal:
    """Appends to a file, which is made by the first record. One process writes at a time."""

    path: Path

    def append(self, record: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system: a killed process loses nothing.

        A number that is not finite becomes null, as JSON has none.
        """
        line = json.dumps(_finite(record), allow_nan=False) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def position(self) -> int:
        """Length in bytes, once all of it is on the disk: a checkpoint may rely on it."""
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return 0

    def truncate(self, position: int) -> None:
        """Cut back to a length. Raises UserError where the file is shorter than that."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < position:
            raise UserError(
                f"{self.path} has {size} bytes, the checkpoint was made at {position}: put the "
                "file back, or start anew with --fresh"
            )
        if size > position:
            os.truncate(self.path, position)


def records(path: Path) -> list[dict[str, Any]]:
    """All records, without an unfinished last line; none where there is no file."""
    return [json.loads(line) for line in lines_after(path, 0)]


def lines_after(path: Path, position: int) -> list[bytes]:
    """The finished lines from a position in bytes on; none where the file ends before it."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            whole, newline, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return []
    return (whole + newline).splitlines(keepends=True)


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


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
