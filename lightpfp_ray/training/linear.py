"""Least squares of what is linear in a potential: xi and E0, on energies, forces and stresses.

    L(x) = x N x - 2 r x + s,     x = (xi, E0),     N, r, s: sums over structures, weighted as L

Each worker sums over its structures, one all-reduce, then the same solution on each.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..mtp.engine import NormalEquations, normal_equations
from ..mtp.engine.torch_engine import sum_by
from ..mtp.model import MTP
from .batches import Share, WeightedSet
from .context import WorkerContext
from .loss import per_label, sums, weighted
from .parts import BLOCK, one_thread, sum_in_parts

RIDGES = {torch.float64: 1e-11, torch.float32: 1e-8}
"""By the precision of the engine, of a normal matrix whose diagonal is scaled to 1: keeps the
solution small where the data do not decide, or are lost in rounding.
"""

RANK_TOLERANCE = 1e-10


def equations(
    model: MTP,
    structures: WeightedSet,
    coefficients: Mapping[str, float],
    indices: np.ndarray,
    context: WorkerContext,
    network: MTP | None = None,
) -> NormalEquations:
    """Those of the mean squared loss over some structures, in float64; what a `network_of` predicts
    is taken off the labels.
    """
    n = len(model.basis.scalars) + len(model.species)
    factor_3 = per_label(structures.labels(indices), coefficients).to(context.device)

    def of_share(share: Share) -> Tensor:
        batch = _without(network, share.batch) if network else share.batch
        found = normal_equations(model, batch, share.weights_S3 * factor_3)
        return torch.cat([found.matrix_PP.reshape(-1), found.right_P, found.square.reshape(1)])

    flat = sum_in_parts(structures, indices, n * n + n + 1, context, of_share)
    return NormalEquations(flat[: n * n].reshape(n, n), flat[n * n : -1], flat[-1])


def network_of(model: MTP) -> MTP | None:
    """A potential that predicts what the network adds to the linear part; None without one."""
    if not model.widths:
        return None
    network = deepcopy(model)
    network.radial = replace(model.radial, repulsion=False)
    set_linear_part(network, torch.zeros_like(linear_part(model)))
    return network


def _without(network: MTP, batch: Batch) -> Batch:
    """A batch whose labels are what the network leaves."""
    with torch.no_grad():
        found = network(batch)
    return replace(
        batch,
        energy_S=batch.energy_S - found.energy_S,
        forces_A3=batch.forces_A3 - found.forces_A3,
        stress_S6=batch.stress_S6 - found.stress_S6,
    )


def linear_part(model: MTP) -> Tensor:
    """x = (xi, E0) of a potential."""
    return torch.cat([model.readout.moment_coeffs, model.species_coeffs]).detach().double().cpu()


def set_linear_part(model: MTP, x_P: Tensor) -> None:
    n_basis = len(model.basis.scalars)
    with torch.no_grad():
        model.readout.moment_coeffs.copy_(x_P[:n_basis])
        model.species_coeffs.copy_(x_P[n_basis:])


def loss_at(found: NormalEquations, x_P: Tensor) -> float:
    return float(x_P @ found.matrix_PP @ x_P - 2 * found.right_P @ x_P + found.square)


def solution(found: NormalEquations, x_P: Tensor, ridge: float) -> Tensor:
    """The least squares, from x: the shortest change where the data do not decide."""
    size_P = found.matrix_PP.diagonal().clamp(min=0).sqrt()
    inverse_P = torch.where(size_P > 0, 1 / size_P.clamp(min=1e-300), 0.0)
    scaled_PP = inverse_P[:, None] * found.matrix_PP * inverse_P
    with one_thread():
        values, vectors = torch.linalg.eigh(scaled_PP)
    missing_P = inverse_P * (found.right_P - found.matrix_PP @ x_P)
    damped = values.clamp(min=0) + ridge
    return x_P + inverse_P * (vectors @ ((vectors.T @ missing_P) / damped))


def refit(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    power: str,
    seed: int,
    context: WorkerContext,
    ridge: float = 0.0,
) -> None:
    """Give a potential the xi and E0 of least squares, where they lower the loss of a sample.

    `ridge` holds them to what they are, by this times the diagonal of the normal matrix. A network
    stays as it is.
    """
    sample = train.sample(seed)
    found = equations(model, train, coefficients, sample, context, network_of(model))
    before_P = linear_part(model)
    loss_before = loss_of(model, train, coefficients, power, sample, context)
    set_linear_part(model, solution(found, before_P, max(ridge, RIDGES[model.dtype])))
    if not loss_of(model, train, coefficients, power, sample, context) <= loss_before:
        set_linear_part(model, before_P)


def loss_of(
    model: MTP,
    structures: WeightedSet,
    coefficients: Mapping[str, float],
    power: str,
    indices: np.ndarray,
    context: WorkerContext,
) -> float:
    """The loss of some structures, on all workers."""
    total = torch.zeros(12, dtype=torch.float64, device=context.device)
    for share in structures.shares(indices, BLOCK, context):
        own = sums(model(share.batch), share.batch, share.weights_S3)
        total += own.detach().reshape(-1)
    total = context.sum_over_workers(total).reshape(3, 4)
    return float(weighted(total, structures.labels(indices), coefficients, power))


def solve_reference_energies(model: MTP, train: WeightedSet, context: WorkerContext) -> int:
    """Move E0 to the least squares of the energies per atom, forces and stress as they are; the
    number of species combinations that the energies do not determine.

    minimise sum_S w_S ((E_S - E_ref - sum_c n_Sc d_c) / N_S)^2; the shortest d where species never
    vary independently, or are absent.
    """
    c = len(model.species)

    def of_share(share: Share) -> Tensor:
        fraction_SC, residual_S = _energy_equations(model, share.batch)
        weight_S = torch.where(residual_S.isnan(), 0.0, share.weights_S3[:, 0])
        weighted_SC = weight_S[:, None] * fraction_SC
        matrix_CC = weighted_SC.T @ fraction_SC
        return torch.cat([matrix_CC.reshape(-1), weighted_SC.T @ residual_S.nan_to_num(0.0)])

    totals = sum_in_parts(train, train.everything, c * c + c, context, of_share)
    matrix_CC, right_C = totals[: c * c].reshape(c, c), totals[c * c :]
    inverse_CC = torch.linalg.pinv(matrix_CC, hermitian=True, rtol=RANK_TOLERANCE)
    with torch.no_grad():
        model.species_coeffs += (inverse_CC @ right_C).to(model.species_coeffs)
    rank = torch.linalg.matrix_rank(matrix_CC, hermitian=True, rtol=RANK_TOLERANCE)
    return c - int(rank)


def _energy_equations(model: MTP, batch: Batch) -> tuple[Tensor, Tensor]:
    """Fractions of the species (S, C) and missing energy per atom (S), NaN without a label."""
    one_hot_AC = torch.nn.functional.one_hot(model.species_A(batch), len(model.species)).double()
    count_SC = sum_by(batch.structure_A, one_hot_AC, batch.n_structures)
    atoms_S = batch.atoms_S.double()
    energy_S = model(batch).energy_S.detach()
    return count_SC / atoms_S[:, None], (batch.energy_S - energy_S) / atoms_S
