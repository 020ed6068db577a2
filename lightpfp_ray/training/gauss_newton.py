"""How steeply the least loss over xi and E0 rises with all radial functions together: the matrix of
Gauss and Newton for variable projection, whose inverse makes that loss round.

    J' = J_gamma - J_x (J_x^+ J_gamma)      x = (xi, E0) follow the functions (Kaufman 1975)
    H = J'^T J',    Y Y^T = D (FREE + D H D / L_0)^-1 D

J enters by rows s^T J, s random signs over the residuals of one structure: as `steepness` has it,
but each row is of one structure, so that thousands of them cost a few passes over the set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import WeightedSet
from .context import WorkerContext
from .coordinates import Maps
from .linear import equations
from .loss import per_label, residuals
from .parts import one_thread
from .start import orthonormal, radial_gram
from .steepness import pair_units, roots_of, signed, units
from .whiten import least_loss

ROWS = 4
"""Times the number of parameters: with fewer, chance makes some directions look flat."""

FREE = 0.01
"""Where the loss is flat, a step of size 1 changes a function by ten times its random size."""

LARGEST = 2048
"""Radial coefficients of a dense H; of more, the pairs of species are taken each by itself."""


def measured(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    seed: int,
    context: WorkerContext,
) -> tuple[Maps, float]:
    """Coordinates of the radial functions, at a potential, and L_0; all else is as it is."""
    sample = train.sample(seed)
    maps = Maps.identity(model)
    maps = maps.with_radial(orthonormal(radial_gram(model.radial, train, sample, context)))
    found = equations(model, train, coefficients, sample, context)
    loss = least_loss(found, len(model.basis.scalars))
    if loss <= 0:
        return maps, loss
    if model.radial_coeffs.numel() > LARGEST:
        place = (sample, maps.radial_QQ, loss, seed, context)
        return maps.with_units(model, *pair_units(model, train, coefficients, *place)), loss
    rows_NP = rows(model, train, coefficients, sample, seed, context)
    steep_PP = projected(rows_NP, model.radial_coeffs.numel(), maps.radial_QQ)
    return maps.with_units(model, *units(steep_PP[None], model.radial.n_q, loss, train, FREE)), loss


def rows(
    model: MTP,
    structures: WeightedSet,
    coefficients: Mapping[str, float],
    sample: np.ndarray,
    seed: int,
    context: WorkerContext,
) -> Tensor:
    """s^T J (N, P), P the radial coefficients, xi and E0; their squares sum up to those of J, on
    average. The same on each worker.
    """
    parameters = (model.radial_coeffs, model.readout.moment_coeffs, model.species_coeffs)
    n_parameters = sum(p.numel() for p in parameters)
    sample = sample[: ROWS * n_parameters]
    draws = -(-ROWS * n_parameters // len(sample))
    factor_3 = per_label(structures.labels(sample), coefficients).to(context.device)
    found_NP = torch.zeros(len(sample), draws, n_parameters, dtype=torch.float64)
    for number in range(context.rank, len(sample), context.world_size):
        share = structures.share(sample[number : number + 1], context)
        missing = residuals(model(share.batch, training=True), share.batch)
        roots = roots_of(share, factor_3)
        signs = np.random.default_rng([seed, *share.numbers])
        for row_P in found_NP[number]:
            weights = signed(roots, missing, signs)
            slopes = torch.autograd.grad(missing, parameters, weights, retain_graph=True)
            row_P.copy_(torch.cat([slope.double().reshape(-1) for slope in slopes]))
    found_NP = context.sum_over_workers(found_NP.reshape(-1).to(context.device)).cpu()
    return found_NP.reshape(-1, n_parameters) / draws**0.5


def projected(rows_NP: Tensor, n_radial: int, radial_QQ: Tensor) -> Tensor:
    """H of the radial coefficients in orthonormal functions, where all others follow them."""
    n_q = len(radial_QQ)
    radial_NG = (rows_NP[:, :n_radial].reshape(-1, n_q) @ radial_QQ.T).reshape(-1, n_radial)
    others_NX = rows_NP[:, n_radial:]
    with one_thread():
        spanned_NX = torch.linalg.qr(others_NX / others_NX.norm(dim=0).clamp(min=1e-300)).Q
        rest_NG = radial_NG - spanned_NX @ (spanned_NX.T @ radial_NG)
        return rest_NG.T @ rest_NG
