"""Structures -> Batch: edges found, everything concatenated, missing labels NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..batch import Batch
from .neighbors import search
from .structure import Structure


def batch_from_structures(structures: Sequence[Structure], cutoff: float) -> Batch:
    """One batch of structures, in their order; `cutoff` in A."""
    found = [search(s.positions, s.cell, s.pbc, cutoff) for s in structures]
    atoms = np.array([len(s.numbers) for s in structures], dtype=np.int64)
    n_edges_A = _joined([edges.n_edges_A for edges in found], np.int64)
    return Batch(
        numbers_A=_joined([s.numbers for s in structures], np.int64),
        structure_A=torch.from_numpy(np.repeat(np.arange(len(structures)), atoms)),
        positions_A3=_joined([s.positions for s in structures], np.float64, 3),
        cell_S33=_joined([np.reshape(s.cell, (1, 3, 3)) for s in structures], np.float64, 3, 3),
        volume_S=torch.tensor([_volume(s) for s in structures], dtype=torch.float64),
        weight_S=torch.tensor([s.weight for s in structures], dtype=torch.float64),
        first_edge_A=n_edges_A.cumsum(0) - n_edges_A,
        n_edges_A=n_edges_A.int(),
        neighbors_N=_joined([edges.neighbor_E for edges in found], np.int32),
        shifts_N3=_joined([edges.shift_E3 for edges in found], np.int16, 3),
        energy_S=_joined([_label(s.energy, (1,)) for s in structures], np.float64),
        forces_A3=_joined(
            [_label(s.forces, (len(s.numbers), 3)) for s in structures], np.float64, 3
        ),
        stress_S6=_joined([_label(s.stress, (1, 6)) for s in structures], np.float64, 6),
    )


def _joined(parts: list, dtype: type, *trailing: int) -> torch.Tensor:
    empty = np.zeros((0, *trailing), dtype)
    return torch.from_numpy(np.concatenate([empty, *(np.asarray(p, dtype) for p in parts)]))


def _volume(structure: Structure) -> float:
    """|det cell| where the structure is periodic along three vectors, else NaN."""
    return abs(float(np.linalg.det(structure.cell))) if np.all(structure.pbc) else np.nan


def _label(value: np.ndarray | float | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan) if value is None else np.reshape(np.asarray(value, float), shape)
