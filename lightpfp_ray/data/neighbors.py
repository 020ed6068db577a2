"""Edges: every directed pair of atoms within the cutoff once, periodic images of an atom itself included.

r_ij = positions[neighbor] + shift @ cell - positions[center],     |r_ij| < cutoff
"""

from __future__ import annotations

import numpy as np
from ase.neighborlist import primitive_neighbor_list


def edges(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """center (E,) ascending, neighbor (E,), both int64, and the lattice shift (E, 3) int16 of the neighbor."""
    if len(positions) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int16)
    center, neighbor, shift = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff, self_interaction=False)
    r = np.linalg.norm(positions[neighbor] + shift @ cell - positions[center], axis=1)
    inside = r < cutoff
    order = np.argsort(center[inside], kind="stable")
    return (
        center[inside][order].astype(np.int64),
        neighbor[inside][order].astype(np.int64),
        shift[inside][order].astype(np.int16),
    )
