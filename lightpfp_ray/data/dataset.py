"""One split of a prepared cache, mapped, and batches drawn from it: atoms are gathered, edges are
not touched.

Structures are in the order of (content hash, source), whatever order they were written in.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from ..batch import Batch
from . import flat


@dataclass(frozen=True)
class Counts:
    """What each structure has, arrays of length S in the order of the set."""

    n_atoms: np.ndarray
    n_edges: np.ndarray
    has_energy: np.ndarray
    has_forces: np.ndarray
    has_stress: np.ndarray
    weight: np.ndarray
    group: np.ndarray  # index in group_names
    group_names: tuple[str, ...]


OF_STRUCTURES = (
    "first_atom_S",
    "atoms_S",
    "cell_S33",
    "volume_S",
    "energy_S",
    "stress_S6",
    "weight_S",
)
"""Arrays of a set with a row a structure."""


@dataclass(frozen=True)
class StructureSet:
    """Structures of a split. A: all atoms and E: all edges, mapped and not to be written to; S:
    structures, in order.
    """

    numbers_A: Tensor  # int16
    positions_A3: Tensor  # A
    forces_A3: Tensor  # eV/A, NaN where absent
    first_edge_A: Tensor  # int64
    n_edges_A: Tensor  # int32
    neighbors_E: Tensor  # int32, within the structure
    shifts_E3: Tensor  # int16
    first_atom_S: Tensor
    atoms_S: Tensor
    cell_S33: Tensor
    volume_S: Tensor
    energy_S: Tensor  # eV, NaN where absent
    stress_S6: Tensor  # eV/A^3, NaN where absent
    weight_S: Tensor
    counts: Counts
    sources: pa.ChunkedArray
    numbers_present: list[int]  # atomic numbers, ascending
    min_distance: float | None  # A, of all edges; None without any

    @classmethod
    def open(cls, cache_dir: Path, split: str) -> StructureSet:
        """The structures of "train" or "test" of a cache. Raises UserError where the cache is
        damaged.
        """
        mapped = flat.opened(Path(cache_dir) / split)
        return _of(mapped)

    def __len__(self) -> int:
        return len(self.atoms_S)

    def source(self, index: int) -> str:
        """Where a structure was read: "file.extxyz#12"."""
        return self.sources[index].as_py()

    def subset(self, indices: np.ndarray) -> StructureSet:
        """Some of the structures as a set, in that order; no atom or edge is copied."""
        rows = np.asarray(indices, dtype=np.int64)
        columns = {k: v[rows] for k, v in vars(self.counts).items() if k != "group_names"}
        return replace(
            self,
            **{name: getattr(self, name)[torch.from_numpy(rows)] for name in OF_STRUCTURES},
            counts=replace(self.counts, **columns),
            sources=self.sources.take(pa.array(rows)),
        )

    def batch(self, indices: np.ndarray | Sequence[int] | Tensor) -> Batch:
        """The structures of some indices (B,), in that order; none is a valid batch."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        atoms = self.atoms_S[chosen]
        structure = torch.repeat_interleave(atoms)
        skipped = self.first_atom_S[chosen] - (torch.cumsum(atoms, 0) - atoms)
        atom = torch.arange(len(structure)) + skipped.index_select(0, structure)
        return Batch(
            numbers_A=self.numbers_A.index_select(0, atom).long(),
            structure_A=structure,
            positions_A3=self.positions_A3.index_select(0, atom),
            cell_S33=self.cell_S33[chosen],
            volume_S=self.volume_S[chosen],
            weight_S=self.weight_S[chosen],
            first_edge_A=self.first_edge_A.index_select(0, atom),
            n_edges_A=self.n_edges_A.index_select(0, atom),
            neighbors_N=self.neighbors_E,
            shifts_N3=self.shifts_E3,
            energy_S=self.energy_S[chosen],
            forces_A3=self.forces_A3.index_select(0, atom),
            stress_S6=self.stress_S6[chosen],
        )


def _of(mapped: flat.Flat) -> StructureSet:
    structures, counts = mapped.structures, _counts(mapped.structures)
    arrays = {name: _tensor(values) for name, values in mapped.arrays.items()}

    def column(name: str) -> np.ndarray:
        return flat.values_of(structures[name])

    energy = np.full(len(structures), np.nan)
    energy[counts.has_energy] = column("energy")
    stress = np.full((len(structures), 6), np.nan)
    stress[counts.has_stress] = column("stress").reshape(-1, 6)
    shortest = pc.min(structures["min_distance"]).as_py()
    return StructureSet(
        numbers_A=arrays["numbers"],
        positions_A3=arrays["positions"],
        forces_A3=arrays["forces"],
        first_edge_A=arrays["first_edge"],
        n_edges_A=arrays["n_edges"],
        neighbors_E=arrays["neighbors"],
        shifts_E3=arrays["shifts"],
        first_atom_S=_tensor(column("first_atom")),
        atoms_S=_tensor(counts.n_atoms),
        cell_S33=_tensor(column("cell").reshape(-1, 3, 3)),
        volume_S=_tensor(column("volume")),
        energy_S=_tensor(energy),
        stress_S6=_tensor(stress),
        weight_S=_tensor(counts.weight),
        counts=counts,
        sources=structures["source"],
        numbers_present=mapped.elements,
        min_distance=shortest if shortest is not None and np.isfinite(shortest) else None,
    )


def _counts(structures: pa.Table) -> Counts:
    group = structures["group"].combine_chunks()
    return Counts(
        n_atoms=flat.values_of(structures["n_atoms"]).astype(np.int64),
        n_edges=flat.values_of(structures["n_edges"]),
        has_energy=flat.values_of(structures["energy"].is_valid()),
        has_forces=flat.values_of(structures["has_forces"]),
        has_stress=flat.values_of(structures["stress"].is_valid()),
        weight=flat.values_of(structures["weight"]),
        group=np.from_dlpack(group.indices),
        group_names=tuple(group.dictionary.to_pylist()),
    )


def _tensor(array: np.ndarray) -> Tensor:
    """The same memory as a tensor. Where it is mapped it is read-only, of which torch warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
