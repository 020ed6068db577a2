"""The doctor in short, on a prepared set: what stands in memory is looked at whole, the rest on a
sample.
"""

from __future__ import annotations

import numpy as np

from ..data.dataset import StructureSet
from ..data.structure import Structure
from .agreement import agreement
from .examine import NOT_COMPARED
from .findings import Finding, by_level
from .geometry import length_unit, nearest_distances
from .labels import label_findings
from .survey import COLUMNS, Survey, asymmetry_of

SAMPLE_ATOMS = 3000
"""Atoms of the sample that the quick potential is fitted to."""

COPIES = 3000
"""Structures among which strained copies are looked for."""

ZEROS = 200
"""Structures without any force whose sites are looked at."""


def brief(structures: StructureSet, cutoff: float) -> list[Finding]:
    """Findings on a set whose edges are those within `cutoff` (A), errors first.

    What a training says of its data anyway (missing labels, skipped structures) is left out, and
    duplicates are not looked for.
    """
    seen = _survey(structures)
    found = [f for f in label_findings(seen) if not f.kind.startswith("missing")]
    chosen = _sample(structures)
    batches = [structures.batch(chosen[i : i + 20]) for i in range(0, len(chosen), 20)]
    lengths, ratios = nearest_distances(batches)
    wrong = length_unit(ratios)
    if wrong is not None:
        return by_level([wrong, NOT_COMPARED, *found])
    if len(lengths) >= 10:
        shortest = min(0.95 * float(np.quantile(lengths, 0.01)), 0.5 * cutoff)
        copies = np.unique(np.linspace(0, len(structures) - 1, COPIES).astype(int)).tolist()
        periodic = {i: s for i in copies if (s := _structure(structures, i)) is not None}
        sources = [structures.source(int(i)) for i in chosen]
        found += agreement(batches, sources, periodic, shortest, cutoff).findings
    return by_level(found)


def _sample(structures: StructureSet) -> np.ndarray:
    """Structures of about SAMPLE_ATOMS atoms, at random."""
    order = np.random.default_rng(0).permutation(len(structures))
    atoms = structures.atoms_S.numpy()[order].cumsum()
    return order[: max(int(np.searchsorted(atoms, SAMPLE_ATOMS, side="right")), 1)]


def _survey(structures: StructureSet) -> Survey:
    """The figures of all structures, without those of distances."""
    atoms, first = structures.atoms_S.numpy(), structures.first_atom_S.numpy()
    order = np.argsort(first)
    forces = structures.forces_A3.numpy()
    starts = first[order]

    def by_structure(reduce: np.ufunc, values: np.ndarray) -> np.ndarray:
        found = np.empty((len(atoms), *values.shape[1:]))
        if len(atoms):
            found[order] = reduce.reduceat(values, starts)
        return found

    squares = (forces**2).sum(1)
    stress = structures.stress_S6.numpy()
    nan = np.full(len(atoms), np.nan)
    figures = {
        "n_atoms": atoms.astype(float),
        "energy": structures.energy_S.numpy(),
        "volume": structures.volume_S.numpy(),
        "pressure": -stress[:, :3].mean(1),
        "max_force": np.sqrt(by_structure(np.maximum, squares)),
        "rms_force": np.sqrt(by_structure(np.add, squares) / atoms),
        "net_force": np.linalg.norm(by_structure(np.add, forces), axis=1),
        "max_stress": np.abs(stress).max(1, initial=0),
        "shortest": nan,
        "closeness": nan,
        "asymmetry": nan.copy(),
    }
    assert tuple(figures) == COLUMNS
    for i in np.flatnonzero(figures["max_force"] == 0)[:ZEROS].tolist():
        structure = _structure(structures, i)
        if structure is not None:
            figures["asymmetry"][i] = asymmetry_of(structure)
    numbers = structures.numbers_A.numpy()
    species = list(structures.numbers_present)
    counts = np.column_stack([by_structure(np.add, (numbers == z).astype(int)) for z in species])
    return Survey(
        sources=structures.sources,
        groups=[],
        ids=[],
        atoms_ids=[],
        figures=figures,
        species=species,
        counts_SC=counts,
        skipped={},
        pairs={},
        stress_not_periodic=[],
    )


def _structure(structures: StructureSet, index: int) -> Structure | None:
    """A structure that is periodic along three vectors, else None."""
    if np.isnan(float(structures.volume_S[index])):
        return None
    first = int(structures.first_atom_S[index])
    atoms = slice(first, first + int(structures.atoms_S[index]))
    energy = float(structures.energy_S[index])
    forces, stress = structures.forces_A3[atoms].numpy(), structures.stress_S6[index].numpy()
    return Structure(
        numbers=structures.numbers_A[atoms].numpy().astype(np.int64),
        positions=structures.positions_A3[atoms].numpy(),
        cell=structures.cell_S33[index].numpy(),
        pbc=np.ones(3, bool),
        energy=None if np.isnan(energy) else energy,
        forces=None if np.isnan(forces).any() else forces,
        stress=None if np.isnan(stress).any() else stress,
    )
