"""One split of a prepared cache in memory: flat tensors, and batches gathered from them without a
Python loop.

Structures are in the order of (content hash, source), whatever order their shards were written in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ..batch import Batch
from ..errors import UserError
from .manifest import SHARDS
from .schema import SCHEMA, VERSION


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


@dataclass(frozen=True)
class StructureSet:
    """Structures of a split. A: all atoms and E: all edges, as the shards hold them; S: structures,
    in order.
    """

    numbers_A: Tensor  # int64
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
    counts: Counts
    sources: Sequence[str]
    numbers_present: list[int]  # atomic numbers, ascending
    min_distance: float | None  # A, of all edges; None without any

    @classmethod
    def open(cls, cache_dir: Path, split: str) -> StructureSet:
        """The structures of "train" or "test" of a cache. Raises UserError where the cache is
        damaged.
        """
        return _loaded(
            [_table(path) for path in sorted((Path(cache_dir) / SHARDS).glob(f"{split}-*.parquet"))]
        )

    def __len__(self) -> int:
        return len(self.atoms_S)

    def source(self, index: int) -> str:
        """Where a structure was read: "file.extxyz#12"."""
        return self.sources[index]

    def batch(self, indices: np.ndarray | Sequence[int] | Tensor) -> Batch:
        """The structures of some indices (B,), in that order; none is a valid batch."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        atoms = self.atoms_S[chosen]
        structure = torch.repeat_interleave(torch.arange(len(chosen)), atoms)
        skipped = self.first_atom_S[chosen] - (torch.cumsum(atoms, 0) - atoms)
        atom = torch.arange(len(structure)) + skipped[structure]
        return Batch(
            numbers_A=self.numbers_A[atom],
            structure_A=structure,
            positions_A3=self.positions_A3[atom],
            cell_S33=self.cell_S33[chosen],
            volume_S=self.volume_S[chosen],
            weight_S=torch.from_numpy(self.counts.weight)[chosen],
            first_edge_A=self.first_edge_A[atom],
            n_edges_A=self.n_edges_A[atom],
            neighbors_N=self.neighbors_E,
            shifts_N3=self.shifts_E3,
            energy_S=self.energy_S[chosen],
            forces_A3=self.forces_A3[atom],
            stress_S6=self.stress_S6[chosen],
        )


def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} is damaged ({str(error).splitlines()[0]}): delete the cache, it is made again"
        ) from error
    found = (table.schema.metadata or {}).get(b"lightpfp_ray.version", b"?").decode()
    if found != str(VERSION):
        raise UserError(
            f"{path} has version {found} of the columns, expected {VERSION}: delete the "
            "cache, it is made again"
        )
    return table


def _loaded(tables: list[pa.Table]) -> StructureSet:
    tables = tables or [SCHEMA.empty_table()]
    ids, sources = _strings(tables, "id"), _strings(tables, "source")
    order = np.array(sorted(range(len(ids)), key=lambda row: (ids[row], sources[row])), np.int64)
    atoms = _values(tables, "n_atoms").astype(np.int64)
    has = {
        name: np.concatenate([t[name].is_valid().to_numpy() for t in tables])[order]
        for name in ("energy", "forces", "stress")
    }
    n_edges = _values(tables, "edges_of_atom")
    first_edge = np.cumsum(n_edges, dtype=np.int64) - n_edges
    group_names, group = np.unique(_strings(tables, "group"), return_inverse=True)
    cell, pbc = _values(tables, "cell").reshape(-1, 3, 3), _values(tables, "pbc").reshape(-1, 3)
    volume = np.where(pbc.all(1), np.abs(np.linalg.det(cell)), np.nan)
    numbers = _values(tables, "numbers").astype(np.int64)
    shortest = _values(tables, "min_distance").min(initial=np.inf)
    every = np.ones(len(order), np.int64)
    tensor = torch.from_numpy
    return StructureSet(
        numbers_A=tensor(numbers),
        positions_A3=tensor(_values(tables, "positions").reshape(-1, 3)),
        forces_A3=tensor(_filled(tables, "forces", 3 * atoms).reshape(-1, 3)),
        first_edge_A=tensor(first_edge),
        n_edges_A=tensor(n_edges),
        neighbors_E=tensor(_values(tables, "neighbor")),
        shifts_E3=tensor(_values(tables, "shift").reshape(-1, 3)),
        first_atom_S=tensor((np.cumsum(atoms) - atoms)[order]),
        atoms_S=tensor(atoms[order]),
        cell_S33=tensor(cell[order]),
        volume_S=tensor(volume[order]),
        energy_S=tensor(_filled(tables, "energy", every)[order]),
        stress_S6=tensor(_filled(tables, "stress", 6 * every).reshape(-1, 6)[order]),
        counts=Counts(
            n_atoms=atoms[order],
            n_edges=_sums(n_edges, atoms)[order],
            **{f"has_{name}": has[name] for name in has},
            weight=_values(tables, "weight")[order],
            group=group[order],
            group_names=tuple(str(name) for name in group_names),
        ),
        sources=[sources[row] for row in order],
        numbers_present=np.unique(numbers).tolist(),
        min_distance=float(shortest) if np.isfinite(shortest) else None,
    )


def _strings(tables: list[pa.Table], name: str) -> list[str]:
    return [value for table in tables for value in table[name].to_pylist()]


def _values(tables: list[pa.Table], name: str) -> np.ndarray:
    """All values of a column, one after the other, lists undone, absent ones left out; writable."""
    parts = []
    for chunk in (chunk for table in tables for chunk in table[name].chunks):
        while pa.types.is_nested(chunk.type):
            chunk = chunk.flatten()
        parts.append(chunk.drop_null().to_numpy(zero_copy_only=False))
    kind = tables[0][name].type
    while pa.types.is_nested(kind):
        kind = kind.value_type
    return np.concatenate([np.zeros(0, kind.to_pandas_dtype()), *parts])


def _present(tables: list[pa.Table], name: str) -> np.ndarray:
    return np.concatenate([table[name].is_valid().to_numpy() for table in tables])


def _filled(tables: list[pa.Table], name: str, lengths: np.ndarray) -> np.ndarray:
    """All values of a column, with as many NaN as `lengths` says where a row has none."""
    full = np.full(lengths.sum(), np.nan)
    full[np.repeat(_present(tables, name), lengths)] = _values(tables, name)
    return full


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sum of each of the consecutive ranges of `values`."""
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(lengths)
    return total[ends] - total[ends - lengths]
