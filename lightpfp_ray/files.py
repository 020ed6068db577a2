"""Files and folders that are whole or absent: made beside their name, then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; after a crash the old content or the new one is
    there, never a part.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def folder_beside(final: Path) -> Iterator[Path]:
    """A new hidden folder beside `final`, for what is renamed to it when it is whole; else it is
    removed at the end. What killed processes left of theirs is removed first.
    """
    for left in final.parent.glob(f".{final.name}-*"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    folder = final.with_name(f".{final.name}-{uuid.uuid4().hex[:8]}")
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not folder.exists():  # taken for a left one before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which ends with the process; False where another one has it, or
    the file system has no locks.
    """
    descriptor = None
    try:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
            return
        yield False
    finally:
        if descriptor is not None:
            os.close(descriptor)
