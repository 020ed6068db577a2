"""The search for a start: a little variable projection from some random radial functions,
on some of the structures; the one of the lowest loss is where the training begins.

The loss of the radial functions has a few deep minima, which differ by factors; a handful of starts
tells them apart in seconds, what a single long training cannot.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
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
"""Structures on which the starts are told apart, and on which the best one goes on."""

SHORT, LONG = 20, 40
"""Iterations of each start, and of the best one after that."""


def search(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    starts: int,
    seed: int,
    context: WorkerContext,
) -> list[float]:
    """Give a potential the best of some radial functions, its own among them; their losses."""
    few = train.part(train.sample(seed, FEW))
    solve_reference_energies(model, few, context)
    orthonormal_QQ = orthonormal(radial_gram(model.radial, few, few.everything, context))
    generator = torch.Generator().manual_seed(seed + 1)
    found = []
    for start in range(starts):
        if start:
            coeffs = random_radial(model.radial_coeffs.shape, orthonormal_QQ, generator)
            with torch.no_grad():
                model.radial_coeffs.copy_(coeffs)
        loss = _improve(model, few, coefficients, orthonormal_QQ, SHORT, context)
        found.append((loss, model.radial_coeffs.detach().clone()))
    losses = [loss for loss, _ in found]
    with torch.no_grad():
        model.radial_coeffs.copy_(found[int(np.argmin(losses))][1])
    many = train.part(train.sample(seed, MANY))
    _improve(model, many, coefficients, orthonormal_QQ, LONG, context)
    return losses


def _improve(
    model: MTP,
    some: WeightedSet,
    coefficients: Mapping[str, float],
    orthonormal_QQ: Tensor,
    iterations: int,
    context: WorkerContext,
) -> float:
    """Iterate from the radial functions that a potential has; its loss at the end."""
    maps = Maps.identity(model).with_radial(orthonormal_QQ)
    walk = VariableProjection(model, Coordinates(model, maps))
    for _ in range(iterations):
        if walk.iterate(model, some, coefficients, context) is None:
            break
    return walk.method.value
