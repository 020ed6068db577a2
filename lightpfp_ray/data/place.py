"""Parts go into their sets while blocks are still read: each as soon as the sizes of all parts
before it are known.

What a task has just written lies in memory: it is copied from there and removed before it reaches
the disk, and the tasks share this work too. What still waits for a block of another task when its
own task ends is left to `prepare.gather`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from . import flat, schema
from .parts import rows_of
from .prepare import PARTS, part


class Places:
    """Where the parts of one task go. Tasks tell each other the sizes of their parts by links.

    blocks: (folder of the cache, name) of all blocks in order, those of other tasks too. With
    `both` nothing is moved before each split has a structure: a split without any is given some of
    the other one's in the end (`prepare.gather`). All tasks are on one machine: others could
    overwrite what lies in the same page of a network file system.
    """

    def __init__(self, blocks: Sequence[tuple[Path, str]], both: bool) -> None:
        self.blocks, self.both = blocks, both
        self.firsts = [np.zeros((len(schema.SPLITS), 2), int)]  # atoms, edges before each block
        self.waiting: list[int] = []

    def add(self, number: int) -> None:
        """The parts of this block are whole: move all parts of this task whose place is known."""
        self._tell(number)
        self.waiting.append(number)
        self._listen()
        if self.both and not self.firsts[-1][:, 0].all():
            return
        known = [n for n in self.waiting if n < len(self.firsts)]
        self.waiting = self.waiting[len(known) :]
        for n in known:
            folder, name = self.blocks[n]
            for split, first in zip(schema.SPLITS, self.firsts[n].tolist(), strict=True):
                flat.place(folder / split, part(folder, split, name), tuple(first))

    def _tell(self, number: int) -> None:
        folder, name = self.blocks[number]
        tables = [rows_of(part(folder, split, name)) for split in schema.SPLITS]
        sizes = [[pc.sum(t[n]).as_py() or 0 for n in ("n_atoms", "n_edges")] for t in tables]
        with suppress(FileExistsError):  # of a task that died: the same sizes
            self._size(number).symlink_to(json.dumps(sizes))

    def _listen(self) -> None:
        """Follow the blocks that are whole, until one that is not."""
        with suppress(FileNotFoundError):
            while len(self.firsts) <= len(self.blocks):
                sizes = json.loads(str(self._size(len(self.firsts) - 1).readlink()))
                self.firsts.append(self.firsts[-1] + sizes)

    def _size(self, number: int) -> Path:
        """A link to its two sizes: it appears whole."""
        folder, name = self.blocks[number]
        return folder / PARTS / f"size-{name}"
