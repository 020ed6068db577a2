"""Edges: every directed pair of atoms within the cutoff once, periodic images of an atom itself
included.

r_ij = positions[neighbor] + shift @ cell - positions[center],     |r_ij| < cutoff

The search is vesin's. It is right for skewed cells that are periodic along one or two vectors,
where `ase.neighborlist.primitive_neighbor_list` of ASE 3.29 misses edges between atoms outside the
cell.
"""

from __future__ import annotations

import numpy as np

from ..errors import UserError

SEARCH_MARGIN = 1e-9
"""The search looks this much further, relative; whether r < cutoff is decided by the equation above
alone.
"""


def edges(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """center (E,) ascending, neighbor (E,), both int64, and the lattice shift (E, 3) int16 of the
    neighbor.

    positions (N, 3) in A, wherever they lie; cell (3, 3), rows are lattice vectors, zero rows where
    there is none; pbc (3,) bool; cutoff in A. The shift is 0 along a vector that is not periodic.
    Edges of one center are in the order (neighbor, shift). Raises UserError where a shift does not
    fit int16.
    """
    positions = np.ascontiguousarray(positions, np.float64)
    if len(positions) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int16)
    from vesin import NeighborList

    search = NeighborList(cutoff=cutoff * (1 + SEARCH_MARGIN), full_list=True)
    box, periodic = np.array(cell, np.float64), np.array(pbc, bool)
    found = search.compute(points=positions, box=box, periodic=periodic, quantities="ijS")
    center, neighbor, shift = (part.astype(np.int64) for part in found)
    inside = np.flatnonzero(edge_lengths(positions, box, center, neighbor, shift) < cutoff)
    center, neighbor, shift = center[inside], neighbor[inside], shift[inside]
    if np.abs(shift).max(initial=0) > np.iinfo(np.int16).max:
        raise UserError("atoms lie more than 32767 cells apart: wrap the positions into the cell")
    order = _order(center, neighbor, shift, len(positions))
    return center[order], neighbor[order], shift[order].astype(np.int16)


def _order(center: np.ndarray, neighbor: np.ndarray, shift: np.ndarray, n_atoms: int) -> np.ndarray:
    """The order of (center, neighbor, shift): of one number made of all five where it fits int64,
    which is several times as fast as a sort by five keys.
    """
    most = int(np.abs(shift).max(initial=0))
    width = 2 * most + 1
    if n_atoms**2 * width**3 >= 2**62:
        return np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], neighbor, center))
    key = center * n_atoms + neighbor
    for axis in range(3):
        key *= width
        key += shift[:, axis] + most
    return np.argsort(key)


def edge_lengths(
    positions: np.ndarray,
    cell: np.ndarray,
    center: np.ndarray,
    neighbor: np.ndarray,
    shift: np.ndarray,
) -> np.ndarray:
    """|r_ij| (E,) in A."""
    r = positions[neighbor]
    r += shift @ np.asarray(cell, float)
    r -= positions[center]
    return np.sqrt(np.einsum("ei,ei->e", r, r))
