"""Which structures a worker sees, and how much each counts.

batch = permutation(N; seed, e)[b B : (b + 1) B],     the shares: about as many atoms each

Every worker knows the whole batch, so that it knows by how many labels the sums are to be divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..errors import UserError
from .balance import balanced
from .context import LabelCounts, Structures, WorkerContext
from .loss import LABELS, Labels

SAMPLE = 2000
"""Structures from which least squares and whitening are found; more do not change them."""


@dataclass(frozen=True)
class Share:
    """A worker's part of a batch, what its structures weigh, and the labels of the whole batch."""

    numbers: np.ndarray  # of the structures in their set
    batch: Batch
    weights_S3: Tensor  # of energy, forces, stress
    labels: Labels


def n_batches(n_structures: int, batch_size: int) -> int:
    return -(-n_structures // batch_size)


def permutation(n_structures: int, seed: int, epoch: int) -> np.ndarray:
    """The order of all structures in an epoch, the same for any number of workers."""
    return np.random.default_rng([seed, epoch]).permutation(n_structures)


@dataclass(frozen=True)
class Part:
    """Some structures of a set, numbered anew."""

    whole: Structures
    chosen: np.ndarray

    def batch(self, indices: np.ndarray) -> Batch:
        return self.whole.batch(self.chosen[indices])


@dataclass(frozen=True)
class WeightedSet:
    """Structures and their weights in the loss: a weight of 2 counts as the structure twice."""

    structures: Structures | Part
    weights_S3: np.ndarray
    labels_S3: np.ndarray  # number of energies, force and stress components of each structure
    atoms_S: np.ndarray  # by which batches are shared among workers

    @classmethod
    def of(cls, structures: Structures, group_weights: Mapping[str, object]) -> WeightedSet:
        """`group_weights`: name of a group -> a weight, or [energy, forces, stress] weights."""
        counts = structures.counts
        atoms = counts.n_atoms * counts.has_forces
        labels = [counts.has_energy, 3 * atoms, 6 * counts.has_stress]
        weights_S3 = np.repeat(np.asarray(counts.weight, float)[:, None], 3, axis=1)
        return cls(
            structures,
            weights_S3 * _weights_of_groups(counts, group_weights),
            np.stack(labels, axis=1).astype(np.int64).reshape(-1, 3),
            counts.n_atoms,
        )

    def __len__(self) -> int:
        return len(self.labels_S3)

    @property
    def everything(self) -> np.ndarray:
        return np.arange(len(self))

    def sample(self, seed: int, most: int = SAMPLE) -> np.ndarray:
        """Some structures, the same for a seed, from which matrices of the stage are summed."""
        return permutation(len(self), seed, 0)[:most]

    def part(self, indices: np.ndarray) -> WeightedSet:
        """Some of them as a set."""
        chosen = Part(self.structures, indices)
        return WeightedSet(
            chosen, self.weights_S3[indices], self.labels_S3[indices], self.atoms_S[indices]
        )

    def labels(self, indices: np.ndarray) -> Labels:
        """How many labels some structures have, and what they weigh."""
        count = self.labels_S3[indices].sum(0)
        weight = (self.labels_S3 * self.weights_S3)[indices].sum(0)
        return Labels(
            dict(zip(LABELS, count.tolist(), strict=True)),
            dict(zip(LABELS, weight.tolist(), strict=True)),
        )

    def shares(
        self, order: np.ndarray, batch_size: int, context: WorkerContext, first: int = 0
    ) -> Iterator[Share]:
        """The worker's share of every batch of an order, from batch number `first` on."""
        for start in range(first * batch_size, len(order), batch_size):
            whole = order[start : start + batch_size]
            own = balanced(whole, self.atoms_S, context.world_size)[context.rank]
            yield self.share(own, context, self.labels(whole))

    def share(self, own: np.ndarray, context: WorkerContext, labels: Labels | None = None) -> Share:
        """Some structures for this worker; `labels` of all that they are a share of."""
        return Share(
            own,
            self.structures.batch(own).to(context.device),
            torch.from_numpy(self.weights_S3[own]).to(context.device),
            labels or self.labels(own),
        )


def _weights_of_groups(counts: LabelCounts, given: Mapping[str, object]) -> np.ndarray:
    """(S, 3); 1 for a group that is not named."""
    rows = [np.broadcast_to(given.get(name, 1.0), 3) for name in counts.group_names]
    return np.array(rows, float).reshape(-1, 3)[counts.group]


def refuse_unknown_groups(given: Mapping[str, object], sets: Iterable[Structures]) -> None:
    """Raise UserError for a weight of a group that no structure is of."""
    known = sorted({name for structures in sets for name in structures.counts.group_names})
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(
            f'lightpfp_ray.group_weights names "{unknown[0]}", the groups of the structures are '
            f"{', '.join(map(repr, known))}: correct the name"
        )
