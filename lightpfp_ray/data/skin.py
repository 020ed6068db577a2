"""Edges that stay right while atoms move: found within cutoff + skin, used again until an atom has
moved by skin / 2.

Two atoms that were farther apart than cutoff + skin cannot have come within the cutoff before one
of them has moved by skin / 2. An edge longer than the cutoff adds nothing: f_mu is zero there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..batch import Batch
from .collate import batch_from_structures
from .neighbors import edges
from .structure import Structure


@dataclass
class MovingStructure:
    """One structure after the other as a batch; edges are searched when they must be. Lengths in A.

    `close` is the distance below which `shortest_below` looks.
    """

    cutoff: float
    skin: float
    close: float
    searches: int = 0
    _found_for: Structure | None = None
    _batch: Batch | None = None
    _close_edges: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def batch(self, structure: Structure) -> Batch:
        """The structure with edges that hold all pairs within the cutoff, and some longer ones."""
        if not self._holds_for(structure):
            self._search(structure)
        positions_A3 = torch.from_numpy(np.array(structure.positions, np.float64))
        return replace(self._batch, positions_A3=positions_A3)

    def shortest_below(self, structure: Structure) -> float | None:
        """The shortest distance of a pair where it is below `close`; of the last batch's
        structure.
        """
        center, neighbor, offset = self._close_edges
        positions = structure.positions
        r = np.linalg.norm(positions[neighbor] + offset - positions[center], axis=1)
        shortest = float(r.min(initial=np.inf))
        return shortest if shortest < self.close else None

    def _holds_for(self, structure: Structure) -> bool:
        before = self._found_for
        if (
            before is None
            or not np.array_equal(before.numbers, structure.numbers)
            or not np.array_equal(before.cell, structure.cell)
            or not np.array_equal(before.pbc, structure.pbc)
        ):
            return False
        moved = ((structure.positions - before.positions) ** 2).sum(1).max(initial=0.0)
        return bool(moved <= (self.skin / 2) ** 2)

    def _search(self, structure: Structure) -> None:
        self.searches += 1
        self._found_for = Structure(
            *(np.array(x) for x in (structure.numbers, structure.positions)),
            cell=np.array(structure.cell),
            pbc=np.array(structure.pbc),
        )
        self._batch = batch_from_structures([self._found_for], self.cutoff + self.skin)
        found = self._found_for
        center, neighbor, shift = edges(
            found.positions, found.cell, found.pbc, self.close + self.skin
        )
        once = center <= neighbor
        self._close_edges = center[once], neighbor[once], shift[once] @ found.cell
