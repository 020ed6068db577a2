"""Edges: every directed pair of atoms within the cutoff once, periodic images of an atom itself
included.

r_ij = positions[neighbor] + shift @ cell - positions[center],     |r_ij| < cutoff

The search is our own, compiled (`native/search.hpp`), and vesin's where that was not built; both
give the same edges in the same order. Both are right for skewed cells that are periodic along one
or two vectors, where `ase.neighborlist.primitive_neighbor_list` of ASE 3.29 misses edges between
atoms outside the cell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from .compiled import native
from .filter import cell_reason

SEARCH_MARGIN = 1e-9
"""vesin looks this much further, relative; whether r < cutoff is decided by the equation above
alone.
"""

FURTHEST = 1e6
"""A; coordinates beyond this are no structure, and distances would be lost in rounding."""

TOO_FAR = "atoms lie more than 32767 cells apart: wrap the positions into the cell"


class Edges(NamedTuple):
    """Of A atoms: E edges in the order (center, neighbor, shift)."""

    n_edges_A: np.ndarray  # int32, by center
    neighbor_E: np.ndarray  # int32
    shift_E3: np.ndarray  # int16; lattice vectors of the neighbor's image
    shortest: float  # A, infinite without any edge


def search(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> Edges:
    """The edges of a structure.

    positions (A, 3) in A, wherever they lie; cell (3, 3), rows are lattice vectors, zero rows where
    there is none; pbc (3,) bool; cutoff in A. The shift is 0 along a vector that is not periodic.
    Raises UserError where a shift does not fit int16, and for positions and cells that no search
    can work on: not finite, or flat, thin or crowded beyond the limits of `filter`.
    """
    positions = np.ascontiguousarray(positions, np.float64)
    cell, pbc = np.ascontiguousarray(cell, np.float64), np.ascontiguousarray(pbc, bool)
    _refuse_impossible(positions, cell, pbc)
    if native() is None:
        return _search_with_vesin(positions, cell, pbc, cutoff)
    try:
        return Edges(*native().search(positions, cell, pbc, cutoff))
    except OverflowError:
        raise UserError(TOO_FAR) from None


def edges(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """center (E,) ascending, neighbor (E,), both int64, and shift (E, 3) int16, as `search` finds
    them.
    """
    found = search(positions, cell, pbc, cutoff)
    center = np.repeat(np.arange(len(found.n_edges_A)), found.n_edges_A)
    return center, found.neighbor_E.astype(np.int64), found.shift_E3


def _refuse_impossible(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> None:
    largest = np.abs(positions).max(initial=0.0)
    if not largest <= FURTHEST:
        found = f"a coordinate of {largest:.3g} A" if largest < np.inf else "NaN or infinity"
        raise UserError(
            f"positions hold {found}, at most {FURTHEST:.0e} A expected: correct the structure"
        )
    why = cell_reason(cell, pbc, len(positions))
    if why or not np.isfinite(cell).all():
        raise UserError(f"{why or 'NaN or infinite cell'}: correct the cell, or pbc")


def _search_with_vesin(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> Edges:
    if len(positions) == 0:
        return Edges(
            np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int16), np.inf
        )
    from vesin import NeighborList

    vesin = NeighborList(cutoff=cutoff * (1 + SEARCH_MARGIN), full_list=True)
    found = vesin.compute(points=positions, box=cell, periodic=pbc, quantities="ijS")
    center, neighbor, shift = (part.astype(np.int64) for part in found)
    lengths = edge_lengths(positions, cell, center, neighbor, shift)
    inside = np.flatnonzero(lengths < cutoff)
    center, neighbor, shift = center[inside], neighbor[inside], shift[inside]
    if np.abs(shift).max(initial=0) > np.iinfo(np.int16).max:
        raise UserError(TOO_FAR)
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], neighbor, center))
    return Edges(
        np.bincount(center, minlength=len(positions)).astype(np.int32),
        neighbor[order].astype(np.int32),
        shift[order].astype(np.int16),
        float(lengths[inside].min(initial=np.inf)),
    )


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
