"""The search for a start: a little variable projection from some random radial functions,
on some of the structures; the one of the lowest loss is where the training begins.

The loss of the radial functions has a few deep minima, which differ by factors; a handful of starts
tells them apart in seconds, what a single long training cannot.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .coordinates import Coordinates, Maps
from .linear import solve_reference_energies
from .start import orthonormal, radial_gram, random_radial
from .varpro import VariableProjection

STRUCTURES = 32
"""How many of the training set are looked at."""

ITERATIONS = 20


def search(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    starts: int,
    seed: int,
    context: WorkerContext,
) -> list[float]:
    """Give a potential the best of some radial functions, its own among them; their losses."""
    some = train.part(train.sample(seed, STRUCTURES))
    solve_reference_energies(model, some, context)
    gram_QQ = radial_gram(model.radial, some, some.everything, context)
    orthonormal_QQ = orthonormal(gram_QQ)
    maps = Maps.identity(model).with_radial(orthonormal_QQ)
    generator = torch.Generator().manual_seed(seed + 1)
    found = []
    for start in range(starts):
        if start:
            coeffs = random_radial(model.radial_coeffs.shape, orthonormal_QQ, generator)
            with torch.no_grad():
                model.radial_coeffs.copy_(coeffs)
        walk = VariableProjection(model, Coordinates(model, maps))
        for _ in range(ITERATIONS):
            if walk.iterate(model, some, coefficients, context) is None:
                break
        found.append((walk.method.value, model.radial_coeffs.detach().clone()))
    losses = [loss for loss, _ in found]
    with torch.no_grad():
        model.radial_coeffs.copy_(found[int(np.argmin(losses))][1])
        model.readout.moment_coeffs.zero_()
    return losses
