"""What a training that begins at a potential does otherwise: it lets go of it only as far as the
structures ask.

    min_x  L(x) + ridge |D^(1/2) (x - x_0)|^2,     D the diagonal of the normal matrix

x_0 are the xi and E0 that were there. The ridge is the one with the least loss of structures that
were left out, in folds: few structures do not decide on all of xi. The radial functions are one of
the starts that are searched from, so that a start from scratch is never the better one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np

from ..mtp.engine import NormalEquations
from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .linear import RIDGES, equations, linear_part, loss_at, loss_of, network_of, solution
from .search import Round, search

FOLDS = 5
TRIED = tuple(10.0**power for power in range(-10, 2))
"""Ridges, of a normal matrix whose diagonal is 1."""


def held_out_ridge(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    seed: int,
    context: WorkerContext,
) -> float:
    """The ridge toward the potential as it is that does best on structures left out."""
    sample, least = train.sample(seed), RIDGES[model.dtype]
    network = network_of(model)
    folds = [
        equations(model, train, coefficients, sample[k::FOLDS], context, network)
        for k in range(min(FOLDS, len(sample)))
    ]
    if len(folds) < 2:
        return least
    start_P = linear_part(model)
    others = [_mean([f for f in folds if f is not fold]) for fold in folds]

    def loss(ridge: float) -> float:
        return sum(
            loss_at(fold, solution(rest, start_P, ridge))
            for fold, rest in zip(folds, others, strict=True)
        )

    tried = [least, *(ridge for ridge in TRIED if ridge > least)]
    return tried[int(np.argmin([loss(ridge) for ridge in tried]))]


def search_from(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    power: str,
    starts: int,
    seed: int,
    rounds: Sequence[Round],
    context: WorkerContext,
) -> list[float]:
    """`search` with the radial functions that a potential has as the first start; what it finds is
    kept where it lowers the loss of a larger sample. The losses of the starts.
    """
    before, sample = deepcopy(model.state_dict()), train.sample(seed)
    loss = loss_of(model, train, coefficients, power, sample, context)
    losses = search(model, train, coefficients, starts, seed, rounds, context)
    if not loss_of(model, train, coefficients, power, sample, context) < loss:
        model.load_state_dict(before)
    return losses


def _mean(parts: list[NormalEquations]) -> NormalEquations:
    return NormalEquations(
        sum(p.matrix_PP for p in parts) / len(parts),
        sum(p.right_P for p in parts) / len(parts),
        sum(p.square for p in parts) / len(parts),
    )
