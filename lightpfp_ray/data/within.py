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

    The cache must have been prepared with at least that cutoff.
    """
    order = np.argsort(structures.first_atom_S.numpy(), kind="stable")  # as the atoms lie
    n_edges_A = torch.zeros_like(structures.n_edges_A, memory_format=torch.contiguous_format)
    n_edges_S = np.zeros(len(structures), np.int64)
    neighbors, shifts = [structures.neighbors_E[:0]], [structures.shifts_E3[:0]]
    ends = np.cumsum(structures.counts.n_atoms[order])
    atom = 0
    for block in np.split(order, np.flatnonzero(np.diff(ends // BLOCK_ATOMS)) + 1):
        batch = structures.batch(block).with_own_edges()
        inside_E = batch.edge_vectors().norm(dim=-1) < cutoff
        kept_A = torch.bincount(batch.center_E[inside_E], minlength=batch.n_atoms)
        n_edges_A[atom : atom + batch.n_atoms] = kept_A
        n_edges_S[block] = torch.bincount(
            batch.structure_A, kept_A.double(), minlength=len(block)
        ).numpy()
        neighbors.append(batch.neighbors_N[inside_E])
        shifts.append(batch.shifts_N3[inside_E])
        atom += batch.n_atoms
    edges_A = n_edges_A.long()
    return replace(
        structures,
        first_edge_A=edges_A.cumsum(0) - edges_A,
        n_edges_A=n_edges_A,
        neighbors_E=torch.cat(neighbors),
        shifts_E3=torch.cat(shifts),
        counts=replace(structures.counts, n_edges=n_edges_S),
    )
