"""Files and folders that are whole or absent: made beside their name, then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
        # not where another process fills it, or the file system has no locks
        with suppress(OSError), _locked(left):
            shutil.rmtree(left)
    name = uuid.uuid4().hex[:8]
    unseen, folder = final.with_name(f".{name}"), final.with_name(f".{final.name}-{name}")
    unseen.mkdir(parents=True)
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(_locked(unseen))
        unseen.rename(folder)  # locked before another process can take it for a left one
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which ends with the process and goes with a rename. Raises OSError
    where another process has it, or the file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
