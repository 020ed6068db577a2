"""The structures of a cache as a smaller cutoff has them: the same atoms, fewer edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .dataset import StructureSet

BLOCK_ATOMS = 20_000
"""Atoms whose edges are looked at together."""


def within(structures: StructureSet, cutoff: float) -> StructureSet:
    """The edges with r < cutoff, in A; copied out of the cache, 10 bytes each.

    The cache must have been prepared with at least that cutoff, and hold its atoms without gaps.
    """
    if not len(structures):
        return structures
    order = np.argsort(structures.first_atom_S.numpy(), kind="stable")  # as the atoms lie
    ends = np.cumsum(structures.counts.n_atoms[order])
    blocks = np.split(order, np.flatnonzero(np.diff(ends // BLOCK_ATOMS)) + 1)
    batches = [structures.batch(block).within(cutoff) for block in blocks]
    n_edges_A = torch.cat([batch.n_edges_A for batch in batches])
    n_edges_S = np.zeros(len(structures), np.int64)
    for block, batch in zip(blocks, batches, strict=True):
        n_edges_S[block] = np.add.reduceat(batch.n_edges_A.numpy(), batch.first_atom_S.numpy())
    return replace(
        structures,
        first_edge_A=n_edges_A.long().cumsum(0) - n_edges_A,
        n_edges_A=n_edges_A,
        neighbors_E=torch.cat([batch.neighbors_N for batch in batches]),
        shifts_E3=torch.cat([batch.shifts_N3 for batch in batches]),
        counts=replace(structures.counts, n_edges=n_edges_S),
    )
