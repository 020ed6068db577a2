"""The seam between the loop and the world: who else trains, where, and on which structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch


class LabelCounts(Protocol):
    """What each structure of a set has: arrays of length S."""

    n_atoms: np.ndarray
    has_energy: np.ndarray
    has_forces: np.ndarray
    has_stress: np.ndarray
    weight: np.ndarray
    group: np.ndarray  # index in group_names
    group_names: Sequence[str]


class Structures(Protocol):
    """A set of labelled structures from which batches are drawn by index."""

    @property
    def counts(self) -> LabelCounts: ...
    def __len__(self) -> int: ...
    def batch(self, indices: np.ndarray) -> Batch: ...


class WorkerContext(Protocol):
    """One of `world_size` workers that hold the same parameters and share the structures."""

    rank: int
    world_size: int
    device: torch.device

    def sum_over_workers(self, flat: Tensor) -> Tensor:
        """The sum of a vector over all workers, the same bits on each of them."""
        ...


@dataclass(frozen=True)
class LocalContext:
    """The only worker."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sum_over_workers(self, flat: Tensor) -> Tensor:
        return flat
