"""What a training that begins at a potential does otherwise: it lets go of it only as far as the
structures ask.

    min_x  L(x) + ridge |D^(1/2) (x - x_0)|^2,     D the diagonal of the normal matrix

x_0 are the xi and E0 that were there. The ridge is the one with the least loss of structures that
were left out, in folds: few structures do not decide on all of xi. The radial functions of a linear
readout are one start more to search from, beside all those of a training from scratch; those under
a network belong to it, and stay or go with it; what holds xi holds it in either case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np

from ..mtp.engine import NormalEquations
from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .linear import (
    RIDGES,
    equations,
    linear_part,
    loss_at,
    loss_of,
    network_of,
    refit,
    solution,
    solve_reference_energies,
)
from .search import Round, search
from .start import begin_anew

FOLDS = 5
TRIED = tuple(10.0**power for power in range(-10, 2))
"""Ridges, of a normal matrix whose diagonal is 1."""

LET_GO = 0.65
"""A network is let go of where a linear readout from scratch leaves less than this part of its
loss, both after least squares: a network has more to gain from what follows.
"""


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
    """`search` from the radial functions that a potential has and from all those from which a
    training without it begins; what it finds is kept where it lowers the loss of a larger sample.
    The losses of the starts.
    """
    before, sample = deepcopy(model.state_dict()), train.sample(seed)
    loss = loss_of(model, train, coefficients, power, sample, context)
    begin_anew(model, train, context, seed)
    losses = search(model, train, coefficients, starts, seed, rounds, context, [before])
    if not lower(loss_of(model, train, coefficients, power, sample, context), loss):
        model.load_state_dict(before)
    return losses


def lets_go(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    starts: int,
    seed: int,
    rounds: Sequence[Round],
    context: WorkerContext,
) -> tuple[bool, list[float]]:
    """Whether a training begins better without the network that there is, by structures left out;
    with the losses of the starts of one from scratch. The potential stays as it is.
    """
    sample = train.sample(seed)
    left = train.part(sample[::FOLDS])
    rest = train.part(np.delete(sample, np.s_[::FOLDS]))
    anew, own = deepcopy(model), deepcopy(model)
    begin_anew(anew, rest, context, seed)
    losses = search(anew, rest, coefficients, starts, seed, rounds, context)
    refit(anew, rest, coefficients, "mse", seed, context)
    solve_reference_energies(own, rest, context)
    ridge = held_out_ridge(own, rest, coefficients, seed, context)
    refit(own, rest, coefficients, "mse", seed, context, ridge)
    found = []
    for each in (anew, own):
        solve_reference_energies(each, train, context)  # of elements that the rest lacks, too
        found.append(loss_of(each, left, coefficients, "mse", left.everything, context))
    return lower(found[0], LET_GO * found[1]), losses


def lower(loss: float, than: float) -> bool:
    """NaN is above everything."""
    return math.isfinite(loss) and not loss >= than


def _mean(parts: list[NormalEquations]) -> NormalEquations:
    return NormalEquations(
        sum(p.matrix_PP for p in parts) / len(parts),
        sum(p.right_P for p in parts) / len(parts),
        sum(p.square for p in parts) / len(parts),
    )
