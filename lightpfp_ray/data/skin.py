"""Edges that stay right while atoms move and the cell breathes: found within cutoff + skin, used
again as long as no other pair can have come within the cutoff.

    r' = r F + u_j - u_i,     |r'| >= s (cutoff + skin) - 2 max |u|

for a pair that was farther apart than cutoff + skin; F maps the cell of the search to that of now,
s is its smallest singular value, u what an atom has moved beyond F. In a cell that stays, that is
until an atom has moved by skin / 2. An edge longer than the cutoff adds nothing: f_mu is zero
there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..batch import Batch
from .collate import batch_from_structures
from .neighbors import edge_lengths, edges
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
        cell = np.array(structure.cell, np.float64)
        volume_S = self._batch.volume_S
        if not np.array_equal(cell, self._found_for.cell):
            volume_S = torch.where(volume_S.isnan(), volume_S, abs(np.linalg.det(cell)))
        return replace(
            self._batch,
            positions_A3=torch.from_numpy(np.array(structure.positions, np.float64)),
            cell_S33=torch.from_numpy(cell[None]),
            volume_S=volume_S,
        )

    def shortest_below(self, structure: Structure) -> float | None:
        """The shortest distance of a pair where it is below `close`; of the last batch's
        structure.
        """
        r = edge_lengths(structure.positions, structure.cell, *self._close_edges)
        shortest = float(r.min(initial=np.inf))
        return shortest if shortest < self.close else None

    def _holds_for(self, structure: Structure) -> bool:
        before = self._found_for
        if (
            before is None
            or not np.array_equal(before.numbers, structure.numbers)
            or not np.array_equal(before.pbc, structure.pbc)
        ):
            return False
        mapped, least = before.positions, 1.0
        if not np.array_equal(before.cell, structure.cell):
            if not np.linalg.det(before.cell):
                return False
            deformation = np.linalg.solve(before.cell, structure.cell)
            mapped = before.positions @ deformation
            least = np.linalg.svd(deformation, compute_uv=False)[-1]
        moved = np.sqrt(((structure.positions - mapped) ** 2).sum(1).max(initial=0.0))
        return all(least * (r + self.skin) - 2 * moved >= r for r in (self.cutoff, self.close))

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
        self._close_edges = center[once], neighbor[once], shift[once]
