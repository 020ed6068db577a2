"""The search for a start: a little variable projection from some random radial functions,
on some of the structures; the best of them go on, on more structures, and the training begins where
the loss is lowest.

The loss of the radial functions has a few deep minima, which differ by factors; a handful of starts
tells them apart in seconds, what a single long training cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .coordinates import Coordinates, Maps
from .linear import solve_reference_energies
from .start import orthonormal, radial_gram, random_radial
from .varpro import VariableProjection

FEW, MANY = 32, 256
"""Structures on which the starts are told apart, and on which the best of them go on."""

BEST = 3


@dataclass(frozen=True)
class Effort:
    """Iterations of each start, and of each of the best after that."""

    short: int = 20
    long: int = 40


def search(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    starts: int,
    seed: int,
    effort: Effort,
    context: WorkerContext,
) -> list[float]:
    """Give a potential the best of some radial functions, its own among them; their losses."""
    few = train.part(train.sample(seed, FEW))
    solve_reference_energies(model, few, context)
    orthonormal_QQ = orthonormal(radial_gram(model.radial, few, few.everything, context))
    generator = torch.Generator().manual_seed(seed + 1)
    begun = []
    for start in range(starts):
        if start:
            coeffs = random_radial(model.radial_coeffs.shape, orthonormal_QQ, generator)
            with torch.no_grad():
                model.radial_coeffs.copy_(coeffs)
        begun.append(_improved(model, few, coefficients, orthonormal_QQ, effort.short, context))
    many = train.part(train.sample(seed, MANY))
    best = []
    for _, parameters in sorted(begun, key=_loss)[:BEST]:
        model.load_state_dict(parameters)
        best.append(_improved(model, many, coefficients, orthonormal_QQ, effort.long, context))
    model.load_state_dict(min(best, key=_loss)[1])
    return [loss for loss, _ in begun]


def _loss(found: tuple[float, dict[str, Tensor]]) -> float:
    return found[0]


def _improved(
    model: MTP,
    some: WeightedSet,
    coefficients: Mapping[str, float],
    orthonormal_QQ: Tensor,
    iterations: int,
    context: WorkerContext,
) -> tuple[float, dict[str, Tensor]]:
    """Iterate from the radial functions that a potential has; loss and parameters at the end."""
    maps = Maps.identity(model).with_radial(orthonormal_QQ)
    walk = VariableProjection(model, Coordinates(model, maps))
    for _ in range(iterations):
        if walk.iterate(model, some, coefficients, context) is None:
            break
    return walk.method.value, deepcopy(model.state_dict())
