"""Which structures a worker sees: batch b of epoch e is a slice of a permutation that (seed, e)
decides.

batch = permutation(N; seed, e)[b B : (b + 1) B],     the worker's share = batch[rank :: world_size]

Every worker knows the whole batch, so that it knows by how many labels the sums are to be divided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..batch import Batch
from .context import LabelCounts, Structures, WorkerContext
from .loss import LABELS


@dataclass(frozen=True)
class Share:
    """A worker's part of a batch, and the number of labels of the whole batch."""

    batch: Batch
    labels: dict[str, int]


def n_batches(n_structures: int, batch_size: int) -> int:
    return -(-n_structures // batch_size)


def permutation(n_structures: int, seed: int, epoch: int) -> np.ndarray:
    """The order of all structures in an epoch, the same for any number of workers."""
    return np.random.default_rng([seed, epoch]).permutation(n_structures)


def n_labels(counts: LabelCounts, indices: np.ndarray) -> dict[str, int]:
    """Numbers of energies, force components and stress components of some structures."""
    atoms = counts.n_atoms[indices] * counts.has_forces[indices]
    found = (
        counts.has_energy[indices].sum(),
        3 * atoms.sum(),
        6 * counts.has_stress[indices].sum(),
    )
    return {label: int(n) for label, n in zip(LABELS, found, strict=True)}


def shares(
    structures: Structures,
    order: np.ndarray,
    batch_size: int,
    context: WorkerContext,
    first: int = 0,
) -> Iterator[Share]:
    """The worker's share of every batch of an order, from batch number `first` on."""
    for start in range(first * batch_size, len(order), batch_size):
        whole = order[start : start + batch_size]
        own = structures.batch(whole[context.rank :: context.world_size])
        yield Share(own.to(context.device), n_labels(structures.counts, whole))
