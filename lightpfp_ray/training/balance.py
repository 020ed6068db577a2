"""Shares of a batch that cost about the same, so that no worker waits for another.

Longest processing time first (Graham 1969): the structures from the dearest to the cheapest, each
to the worker that has the least so far. The share of a worker is a function of the batch, the costs
and the number of workers alone; all workers compute the same.
"""

from __future__ import annotations

import heapq

import numpy as np


def balanced(batch: np.ndarray, costs: np.ndarray, world_size: int) -> list[np.ndarray]:
    """The share of each of `world_size` workers, each in the order of the batch; some may be empty.

    batch: indices of structures (B,). costs: of all structures, as numbers of edges or atoms (S,).
    One worker has the batch as it is.
    """
    if world_size == 1:
        return [batch]
    owner = np.empty(len(batch), np.int64)
    loads = [(0.0, rank) for rank in range(world_size)]  # a heap: the least loaded, by rank
    for place in np.argsort(-costs[batch], kind="stable"):
        load, rank = loads[0]
        owner[place] = rank
        heapq.heapreplace(loads, (load + float(costs[batch[place]]), rank))
    return [batch[owner == rank] for rank in range(world_size)]


def imbalance(shares: list[np.ndarray], costs: np.ndarray) -> float:
    """By how much the slowest worker exceeds the mean: max / mean - 1."""
    loads = np.array([costs[share].sum() for share in shares], float)
    return float(loads.max() / loads.mean() - 1) if loads.any() else 0.0
