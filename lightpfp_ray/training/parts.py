"""Sums over structures that are the same, to the bit, for any number of workers.

Blocks of structures are dealt to a fixed number of parts. A part belongs to one worker, the others
add zeros to it; the parts are added in order. Least squares need it: their solution magnifies a
rounding error by the condition of the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from .batches import Share, WeightedSet
from .context import WorkerContext

BLOCK = 8
"""Structures that are evaluated together."""

FEWEST, MOST, NUMBERS = 8, 64, 1 << 22
"""Parts, and how many numbers they hold in all at most, beyond the fewest."""


def sum_in_parts(
    structures: WeightedSet,
    indices: np.ndarray,
    size: int,
    context: WorkerContext,
    of_share: Callable[[Share], Tensor],
) -> Tensor:
    """The sum over all workers of vectors (size,) of blocks of structures, float64, on the CPU."""
    n_parts = min(MOST, max(FEWEST, NUMBERS // size))
    parts = torch.zeros(n_parts, size, dtype=torch.float64, device=context.device)
    for part, share in _own(structures, indices, n_parts, context):
        parts[part] += of_share(share)
    return context.sum_over_workers(parts.reshape(-1)).reshape(n_parts, size).cpu().sum(0)


def _own(
    structures: WeightedSet, indices: np.ndarray, n_parts: int, context: WorkerContext
) -> Iterator[tuple[int, Share]]:
    """The blocks of this worker, whole, each with its part."""
    for number, start in enumerate(range(0, len(indices), BLOCK)):
        part = number % n_parts
        if part % context.world_size == context.rank:
            yield part, structures.share(indices[start : start + BLOCK], context)


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread: its rounding would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
