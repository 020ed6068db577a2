"""Strained copies of one crystal: the work of the stress is the change of the energy.

    E_j - E_i = factor * W_ij + offset * (V_j - V_i),   W_ij = mean(V stress) : strain_ij

between two copies whose atoms have the same places in the cell; strain_ij is the logarithm of the
stretch that carries cell i into cell j. The factor is 1 where both labels are in one unit and the
sign is right, and the offset is a constant pressure that the stress lacks (Pulay's, of a basis that
is not complete).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from ..data.structure import Structure
from ..units import matrix_from_voigt

LARGEST_STEP = 0.08
"""Largest strain between two neighbors: the mean of their stresses is good to its cube."""

SAME_PLACE = 2e-4
"""Scaled coordinates that differ by less are the same."""

MIN_PAIRS = 4

LARGEST_FAMILY = 1000
"""Copies of one crystal beyond these say nothing new."""


@dataclass(frozen=True)
class StrainTest:
    """What pairs of strained copies say of the stress."""

    pairs: int
    structures: int
    factor: float  # energy differences = factor * work of the stress as labelled
    offset: float  # eV/A^3, to be added to factor * stress
    offset_error: float
    correlation: float


def strained_copies(structures: Iterable[tuple[int, Structure]]) -> list[list[int]]:
    """Places of structures with all labels that are strained copies of one another."""
    families = defaultdict(list)
    for place, s in structures:
        if s.energy is None or s.stress is None or not s.pbc.all() or not len(s.numbers):
            continue
        scaled = s.positions @ np.linalg.inv(s.cell)
        scaled = np.round((scaled - scaled[0]) / SAME_PLACE) * SAME_PLACE % 1.0
        key = np.round(scaled / (10 * SAME_PLACE)).astype(int) % round(0.1 / SAME_PLACE)
        families[(s.numbers.tobytes(), key.tobytes())].append(place)
    return [family for family in families.values() if len(family) > 1]


def strain_test(structures: dict[int, Structure]) -> StrainTest | None:
    """The factor and the offset over all families; None where there are too few copies."""
    rows, members = [], set()
    for family in strained_copies(structures.items()):
        for first, second in _neighbors([structures[p].cell for p in family[:LARGEST_FAMILY]]):
            first, second = family[first], family[second]
            row = _row(structures[first], structures[second])
            if row is not None:
                rows.append(row)
                members |= {first, second}
    if len(rows) < MIN_PAIRS:
        return None
    return _solved(np.array(rows), len(members))


def _neighbors(cells: list[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of cells that join all of a family by the shortest steps of strain."""
    strain = np.array([_log_stretch(cells[0], cell).ravel() for cell in cells])
    distance = np.linalg.norm(strain[:, None] - strain[None], axis=-1)
    tree = minimum_spanning_tree(np.where(distance < 1e-9, 1e-9, distance)).tocoo()
    return list(zip(tree.row.tolist(), tree.col.tolist(), strict=True))


def _row(first: Structure, second: Structure) -> tuple[float, float, float] | None:
    """Energy difference, work, and volume difference of two copies, an atom."""
    strain = _log_stretch(first.cell, second.cell)
    size = np.abs(strain).max()
    if not 1e-5 < size < LARGEST_STEP:
        return None
    volumes = [abs(np.linalg.det(s.cell)) for s in (first, second)]
    mean = 0.5 * sum(
        v * matrix_from_voigt(s.stress) for v, s in zip(volumes, (first, second), strict=True)
    )
    atoms = len(first.numbers)
    return (
        (second.energy - first.energy) / atoms,
        float((mean * strain).sum()) / atoms,
        (volumes[1] - volumes[0]) / atoms,
    )


def _log_stretch(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """log U of the polar decomposition of the map from one cell (rows) to another: (3, 3)."""
    gradient = np.linalg.solve(first, second).T
    values, vectors = np.linalg.eigh(gradient.T @ gradient)
    return vectors @ np.diag(0.5 * np.log(values)) @ vectors.T


def _solved(rows: np.ndarray, structures: int) -> StrainTest | None:
    """Least squares of energy = factor * work + offset * volume, outliers left out."""
    energy, work, volume = rows.T
    if not work.any() or not energy.any():
        return None
    inside = np.ones(len(rows), bool)
    table = np.column_stack([work, volume])
    for _ in range(5):
        solution, *_ = np.linalg.lstsq(table[inside], energy[inside], rcond=1e-9)
        residual = np.abs(energy - table @ solution)
        limit = max(6 * 1.4826 * np.median(residual[inside]), 0.05 * np.median(np.abs(energy)))
        inside = residual <= limit
        if inside.sum() < MIN_PAIRS:
            return None
    left = energy[inside] - table[inside] @ solution
    freedom = max(int(inside.sum()) - 2, 1)
    covariance = np.linalg.pinv(table[inside].T @ table[inside]) * (left @ left) / freedom
    explained = 1 - (left @ left) / (energy[inside] @ energy[inside])
    return StrainTest(
        pairs=int(inside.sum()),
        structures=structures,
        factor=float(solution[0]),
        offset=float(solution[1]),
        offset_error=float(np.sqrt(covariance[1, 1])),
        correlation=float(np.sqrt(max(explained, 0.0))),
    )
