"""The search for a start: a little variable projection from some random radial functions, on a few
structures; the best of them go on, on more structures, and the best of these on many more.

The loss of the radial functions has a few deep minima, which differ by factors; a handful of starts
tells them apart in seconds, what a single long training cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .coordinates import RADIAL, Coordinates, Maps
from .linear import solve_reference_energies
from .start import orthonormal, radial_gram, random_radial
from .varpro import VariableProjection

Start = tuple[float, dict[str, Tensor]]
"""Loss, and parameters of a potential."""


@dataclass(frozen=True)
class Round:
    """The best of the starts go on: how many at most, on how many structures, and how far."""

    best: int
    structures: int
    iterations: int
    measured: bool = False  # in the coordinates of Gauss and Newton


ROUNDS = (Round(1000, 32, 20), Round(3, 64, 20), Round(1, 256, 20, measured=True))


def search(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    starts: int,
    seed: int,
    rounds: Sequence[Round],
    context: WorkerContext,
    known: Sequence[Mapping[str, Tensor]] = (),
) -> list[float]:
    """Give a potential the best of some radial functions, its own among them; the losses of all of
    them after the first round. In float64 for either precision: both begin at the same functions.
    `known`: parameters that are starts as well, before the others.
    """
    dtype = model.dtype
    model.double()
    few = train.part(train.sample(seed, rounds[0].structures))
    solve_reference_energies(model, few, context)
    orthonormal_QQ = orthonormal(radial_gram(model.radial, few, few.everything, context))
    found = [(math.nan, dict(parameters)) for parameters in known]
    found += _starts(model, starts, seed, orthonormal_QQ)
    losses = []
    for each in rounds:
        some = train.part(train.sample(seed, each.structures))
        improved = []
        for _, parameters in found[: each.best]:
            model.load_state_dict(parameters)
            step = (coefficients, orthonormal_QQ, each, seed, context)
            improved.append(_improved(model, some, *step))
        losses.append([loss for loss, _ in improved])
        found = sorted(improved, key=_loss)
    model.load_state_dict(found[0][1])
    model.to(dtype)
    return losses[0]


def _starts(model: MTP, starts: int, seed: int, orthonormal_QQ: Tensor) -> list[Start]:
    """A potential as it is, and with random radial functions; the losses are not known yet."""
    generator = torch.Generator().manual_seed(seed + 1)
    found = [(math.nan, deepcopy(model.state_dict()))]
    for _ in range(starts - 1):
        coeffs = random_radial(model.radial_coeffs.shape, orthonormal_QQ, generator)
        found.append((math.nan, found[0][1] | {RADIAL: coeffs.to(model.radial_coeffs)}))
    return found


def _loss(start: Start) -> float:
    return start[0]


def _improved(
    model: MTP,
    some: WeightedSet,
    coefficients: Mapping[str, float],
    orthonormal_QQ: Tensor,
    round_: Round,
    seed: int,
    context: WorkerContext,
) -> Start:
    """Iterate from the radial functions that a potential has; loss and parameters at the end."""
    maps = Maps.identity(model).with_radial(orthonormal_QQ)
    anew = seed if round_.measured else None
    walk = VariableProjection(model, Coordinates(model, maps), anew)
    for _ in range(round_.iterations):
        if walk.iterate(model, some, coefficients, context) is None:
            break
    return walk.method.value, deepcopy(model.state_dict())
