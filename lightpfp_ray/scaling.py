"""A model of the time of an epoch on any number of workers.

    t(n) = k e + sum over batches [ k f + k c E_max(n) + r(n) + (k - 1) w ],   k = max(1, n / cores)
    r(n) = rounds (latency + 8 P / bandwidth),   rounds = log2 n, or floor(log2 n) + 2

e: what an epoch costs whatever its size; f: what a step does; c: of an edge, on one worker; E_max:
edges of the largest share of a batch; r: the all-reduce of P float64 numbers, in pairs
(`training/reduction.py`), or by halving and doubling (Thakur et al. 2005) where P is large:
latency ceil(log2 n) + 2 (n - 1) / n x 8 P / bandwidth; k: how many workers share a processor; w:
how long one of them then waits for it at each all-reduce.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .training.balance import balanced
from .training.reduction import LONG


@dataclass(frozen=True)
class Network:
    """Between workers; the defaults are of one machine, by gloo."""

    latency_s: float = 0.4e-3
    bytes_per_s: float = 1e9
    turn_s: float = 0.0  # that a worker waits for a processor which it shares with one other

    def all_reduce_s(self, n_workers: int, n_parameters: int) -> float:
        if n_workers == 1:
            return 0.0
        all_of_it_s = 8 * n_parameters / self.bytes_per_s
        if n_parameters > LONG:
            moved_s = 2 * (n_workers - 1) / n_workers * all_of_it_s
            return self.latency_s * math.ceil(math.log2(n_workers)) + moved_s
        power_of_two = n_workers & (n_workers - 1) == 0
        rounds = math.floor(math.log2(n_workers)) + (0 if power_of_two else 2)
        return rounds * (self.latency_s + all_of_it_s)


@dataclass(frozen=True)
class Costs:
    """What was measured on one worker."""

    step_s: float
    edge_s: float
    fixed_s: float = 0.0  # of an epoch

    @classmethod
    def fitted(cls, steps: Iterable[float], edges: Iterable[float], seconds: Iterable[float]):
        """Least squares of seconds = step_s steps + edge_s edges, neither below 0."""
        from scipy.optimize import nnls

        matrix = np.column_stack([list(steps), list(edges)]).astype(float)
        scale = np.abs(matrix).max(0)
        weights = 1 / np.asarray(list(seconds), float)  # relative errors count
        found, _ = nnls(matrix / scale * weights[:, None], np.ones(len(weights)))
        return cls(*(found / scale).tolist())

    def epoch_s(self, n_steps: int, n_edges: float) -> float:
        """Of one worker."""
        return self.fixed_s + n_steps * self.step_s + n_edges * self.edge_s


def epoch_s(
    costs: Costs,
    network: Network,
    n_steps: int,
    largest_shares: float,
    n_workers: int,
    n_parameters: int,
    cores: float = math.inf,
) -> float:
    """Seconds of an epoch. `largest_shares`: edges of the largest share, summed over the steps;
    `cores`: how many processors the workers have together.
    """
    crowding = max(1.0, n_workers / cores)
    meeting = network.all_reduce_s(n_workers, n_parameters) + (crowding - 1) * network.turn_s
    return crowding * costs.epoch_s(n_steps, largest_shares) + n_steps * meeting


def largest_shares(batches: Iterable[np.ndarray], costs: np.ndarray, n_workers: int) -> float:
    """Cost of the largest share of every batch, summed: what an epoch waits for."""
    return float(
        sum(
            max(costs[share].sum() for share in balanced(batch, costs, n_workers))
            for batch in batches
        )
    )
