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
        _geometry_reason(structure)
        or _label_reason(structure, max_energy, max_forces)
        or _limits_reason(structure, limits)
    )


def distance_reason(min_distance: float, limits: Limits = NO_LIMITS) -> str | None:
    """Why a structure is not used, by its shortest edge in A (infinite where there is none)."""
    if min_distance < CLOSEST:
        return TOO_CLOSE
    return DISTANCE if min_distance < (limits.min_distance or 0.0) else None


def _geometry_reason(structure: Structure) -> str | None:
    if len(structure.numbers) == 0:
        return NO_ATOMS
    if np.min(structure.numbers) < 1 or np.max(structure.numbers) > 118:
        return UNKNOWN_ELEMENT
    if not (np.isfinite(structure.positions).all() and np.isfinite(structure.cell).all()):
        return BAD_POSITION
    return _cell_reason(structure.cell[structure.pbc], len(structure.numbers)) or (
        None if structure.pbc.all() else _extent_reason(structure)
    )


def _cell_reason(vectors: np.ndarray, n_atoms: int) -> str | None:
    """Of the periodic lattice vectors (K, 3)."""
    lengths = np.linalg.norm(vectors, axis=1)
    if not lengths.all():
        return FLAT_CELL
    unit = vectors / lengths[:, None]
    gram = unit @ unit.T
    if not np.linalg.det(gram) > FLATTEST**2:
        return FLAT_CELL
    # row k of the inverse of the Gram matrix: 1 / (height / length)^2 on its diagonal
    heights = lengths / np.sqrt(np.diag(np.linalg.inv(gram)))
    if len(vectors) and not heights.min() >= THINNEST:
        return THIN_CELL
    if len(vectors) == 3 and abs(np.linalg.det(vectors)) < DENSEST * n_atoms:
        return DENSE_CELL
    return None


def _extent_reason(structure: Structure) -> str | None:
    extent = np.ptp(structure.positions, axis=0).max()
    return None if max(extent, np.abs(structure.cell).max()) <= LARGEST else TOO_LARGE


def _label_reason(structure: Structure, max_energy: float, max_forces: float) -> str | None:
    labels = [x for x in (structure.energy, structure.forces, structure.stress) if x is not None]
    if not labels:
        return NO_LABEL
    if not all(np.isfinite(label).all() for label in labels):
        return BAD_LABEL
    if not 0 <= structure.weight < np.inf:
        return BAD_WEIGHT
    if structure.energy is not None and structure.energy / len(structure.numbers) > max_energy:
        return ENERGY
    if structure.forces is not None and np.linalg.norm(structure.forces, axis=1).max() > max_forces:
        return FORCE
    return None


def _limits_reason(structure: Structure, limits: Limits) -> str | None:
    if limits.max_volume_per_atom is not None and structure.pbc.all():
        volume = abs(np.linalg.det(structure.cell))
        if volume / len(structure.numbers) > limits.max_volume_per_atom:
            return VOLUME
    if limits.max_stress is not None and structure.stress is not None:
        return STRESS if np.abs(structure.stress).max() > limits.max_stress else None
    return None
