"""Which structures are kept: a reason to skip one, or none.

    energy above max_energy     energy / N > max_energy           eV per atom, signed
    force above max_forces      max_i |F_i| > max_forces          eV/A, norm of an atom's force
    atoms closer than 0.1 A     an edge, images included, is shorter than CLOSEST

    volume above max_volume_per_atom   |det cell| / N, where periodic along three vectors   A^3
    stress above max_stress            largest absolute component                           eV/A^3
    atoms closer than min_distance     as above                                             A

The last three are off unless they are asked for. The reasons are stable strings: they are counted
in the manifest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .structure import Structure

CLOSEST = 0.1
"""A; atoms nearer than this are two copies of one."""

FLATTEST = 1e-6
"""Volume of the periodic vectors over the product of their lengths, below which a cell is flat."""

THINNEST, DENSEST, LARGEST = 0.1, 0.1, 1000.0
"""Height of a periodic cell (A), volume per atom (A^3), and extent of what is not periodic along
three vectors (A), beyond which a structure is a damaged one, and a search for neighbors would take
hours or all memory.
"""

NO_ATOMS = "no atoms"
UNKNOWN_ELEMENT = "unknown element"
BAD_POSITION = "NaN or infinite position or cell"
FLAT_CELL = "periodic, but the cell has no volume"
THIN_CELL = f"periodic, but the cell is thinner than {THINNEST} A"
DENSE_CELL = f"less than {DENSEST} A^3 per atom"
TOO_LARGE = f"atoms or cell spread over more than {LARGEST:.0f} A"
BAD_LABEL = "NaN or infinite label"
BAD_WEIGHT = "NaN, infinite or negative weight"
NO_LABEL = "no energy, forces or stress"
ENERGY = "energy above max_energy"
FORCE = "force above max_forces"
TOO_CLOSE = f"atoms closer than {CLOSEST} A"
VOLUME = "volume above max_volume_per_atom"
STRESS = "stress above max_stress"
DISTANCE = "atoms closer than min_distance"


@dataclass(frozen=True)
class Limits:
    """Further limits, none by default."""

    max_volume_per_atom: float | None = None  # A^3
    min_distance: float | None = None  # A
    max_stress: float | None = None  # eV/A^3


NO_LIMITS = Limits()


def skip_reason(
    structure: Structure, max_energy: float, max_forces: float, limits: Limits = NO_LIMITS
) -> str | None:
    """Why a structure is not used, by itself; max_energy in eV per atom, max_forces in eV/A. None:
    it is kept.
    """
    return (
        geometry_reason(structure)
        or _label_reason(structure, max_energy, max_forces)
        or _limits_reason(structure, limits)
    )


def distance_reason(min_distance: float, limits: Limits = NO_LIMITS) -> str | None:
    """Why a structure is not used, by its shortest edge in A (infinite where there is none)."""
    if min_distance < CLOSEST:
        return TOO_CLOSE
    return DISTANCE if min_distance < (limits.min_distance or 0.0) else None


def geometry_reason(structure: Structure) -> str | None:
    """Why nothing can be computed for these atoms in this cell; None: it can."""
    if len(structure.numbers) == 0:
        return NO_ATOMS
    if structure.numbers.min() < 1 or structure.numbers.max() > 118:
        return UNKNOWN_ELEMENT
    if not (_is_finite(structure.positions) and _is_finite(structure.cell)):
        return BAD_POSITION
    return cell_reason(structure.cell, structure.pbc, len(structure.numbers)) or (
        None if structure.pbc.all() else _extent_reason(structure)
    )


def cell_reason(cell: np.ndarray, pbc: np.ndarray, n_atoms: int) -> str | None:
    """Why no neighbors can be searched in a periodic cell (3, 3), or None.

    V: length, area or volume of the periodic vectors; the height over a side is V / side. Plain
    numbers, because a call of numpy takes longer than all of this.
    """
    vectors = [row for row, periodic in zip(cell.tolist(), pbc, strict=True) if periodic]
    if not vectors:
        return None
    lengths = [math.hypot(*vector) for vector in vectors]
    sides, content = _sides(vectors, lengths)
    if not content > FLATTEST * math.prod(lengths):
        return FLAT_CELL
    if not content >= THINNEST * max(sides):
        return THIN_CELL
    return DENSE_CELL if len(vectors) == 3 and content < DENSEST * n_atoms else None


def _sides(vectors: list[list[float]], lengths: list[float]) -> tuple[list[float], float]:
    """Of one to three vectors: the sides opposite to each, and V."""
    if len(vectors) == 1:
        return [1.0], lengths[0]
    if len(vectors) == 2:
        return lengths, math.hypot(*_cross(*vectors))
    a, b, c = vectors
    normals = [_cross(b, c), _cross(c, a), _cross(a, b)]
    return [math.hypot(*n) for n in normals], abs(
        sum(x * n for x, n in zip(a, normals[0], strict=True))
    )


def _cross(a: list[float], b: list[float]) -> tuple[float, float, float]:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def _extent_reason(structure: Structure) -> str | None:
    extent = np.ptp(structure.positions, axis=0).max()
    return None if max(extent, np.abs(structure.cell).max()) <= LARGEST else TOO_LARGE


def _label_reason(structure: Structure, max_energy: float, max_forces: float) -> str | None:
    labels = [x for x in (structure.energy, structure.forces, structure.stress) if x is not None]
    if not labels:
        return NO_LABEL
    if not all(map(_is_finite, labels)):
        return BAD_LABEL
    if not 0 <= structure.weight < np.inf:
        return BAD_WEIGHT
    if structure.energy is not None and structure.energy / len(structure.numbers) > max_energy:
        return ENERGY
    if structure.forces is not None and _largest_norm_is_above(max_forces, structure.forces):
        return FORCE
    return None


def _is_finite(values: np.ndarray | float) -> bool:
    """All of them; most often said by the sum of squares, three times as fast."""
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def _largest_norm_is_above(limit: float, vectors: np.ndarray) -> bool:
    """Of vectors (N, 3); no square is above the sum of all."""
    if np.vdot(vectors, vectors) <= limit * limit:
        return False
    return math.sqrt((vectors * vectors).sum(axis=1).max()) > limit


def _limits_reason(structure: Structure, limits: Limits) -> str | None:
    if limits.max_volume_per_atom is not None and structure.pbc.all():
        volume = abs(np.linalg.det(structure.cell))
        if volume / len(structure.numbers) > limits.max_volume_per_atom:
            return VOLUME
    if limits.max_stress is not None and structure.stress is not None:
        return STRESS if np.abs(structure.stress).max() > limits.max_stress else None
    return None
