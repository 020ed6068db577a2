"""Maps that whiten: from the normal equations of a stage's loss, and from the basis functions seen.

N' = N_xx - N_x0 N_00^-1 N_0x       what is left of the loss of xi when E0 follows
T T^T = L_0 (N' + ridge)^-1,   M = -N_00^-1 N_0x,   L_0: the least loss
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..mtp.engine import NormalEquations
from ..mtp.model import MTP
from ..mtp.sites import basis_functions
from .batches import Share, WeightedSet
from .context import WorkerContext
from .coordinates import Maps
from .linear import equations, loss_at, solution
from .parts import one_thread, sum_in_parts
from .start import orthonormal, radial_gram
from .steepness import pair_units

LINEAR_RIDGE = 1e-6
"""Of the scaled matrix N': directions that change the loss less than this move no faster."""

LEAST_LOSS = 1e-4
"""Of the loss of E0 alone: L_0 is at least this, where a sample is fitted exactly."""

REACH = 1.0
"""A: an error of the forces, times it, is the size of what E0 and the network still have to find;
where forces do not count, ENERGY_UNIT is.
"""

ENERGY_UNIT = 0.1
"""eV."""


def root_of_inverse(matrix_NN: Tensor, ridge: float) -> Tensor:
    """T with T T^T = (A + ridge of its diagonal)^-1, zero where the diagonal is zero."""
    size_N = matrix_NN.diagonal().clamp(min=0).sqrt()
    inverse_N = torch.where(size_N > 0, 1 / size_N.clamp(min=1e-300), 0.0)
    scaled_NN = inverse_N[:, None] * matrix_NN * inverse_N
    with one_thread():
        values, vectors = torch.linalg.eigh(scaled_NN)
    return inverse_N[:, None] * (vectors * (values.clamp(min=0) + ridge).rsqrt()) @ vectors.T


def least_loss(found: NormalEquations, n_basis: int) -> float:
    """That of least squares, but not less than a part of what E0 alone leaves."""
    inverse_CC, right_C = _inverse_of_energies(found, n_basis), found.right_P[n_basis:]
    without_xi = float(found.square - right_C @ inverse_CC @ right_C)
    least = loss_at(found, solution(found, torch.zeros_like(found.right_P), LINEAR_RIDGE))
    return max(least, LEAST_LOSS * without_xi)


def _inverse_of_energies(found: NormalEquations, n_basis: int) -> Tensor:
    """N_00^-1, of the elements that the energies tell apart."""
    return torch.linalg.pinv(found.matrix_PP[n_basis:, n_basis:], hermitian=True, rtol=1e-10)


def with_linear_part(
    maps: Maps,
    found: NormalEquations,
    n_basis: int,
    loss: float,
    coefficients: Mapping[str, float],
) -> Maps:
    """Maps whose eta and e are those of a loss; `loss` is the least."""
    n_xx, n_0x = found.matrix_PP[:n_basis, :n_basis], found.matrix_PP[n_basis:, :n_basis]
    offset_CB = -_inverse_of_energies(found, n_basis) @ n_0x
    linear_BB = root_of_inverse(n_xx + n_0x.T @ offset_CB, LINEAR_RIDGE)
    if loss <= 0 or bool((linear_BB.diagonal() <= 0).any()):
        return maps
    return replace(
        maps,
        linear_BB=loss**0.5 * linear_BB,
        offset_CB=offset_CB,
        energy=torch.tensor(energy_unit(loss, coefficients), dtype=torch.float64),
    )


def energy_unit(loss: float, coefficients: Mapping[str, float]) -> float:
    """u, eV: of the least loss, were it all of forces."""
    weight = coefficients["forces"]
    return REACH * (loss / weight) ** 0.5 if weight else ENERGY_UNIT


def with_input(maps: Maps, mean_B: Tensor, covariance_BB: Tensor) -> Maps:
    """Maps whose network sees basis functions of mean 0 and covariance 1."""
    variance = (maps.linear_BB.T @ covariance_BB @ maps.linear_BB).trace() / len(mean_B)
    size = variance.clamp(min=1e-300).sqrt()
    return replace(maps, mean_B=mean_B, input_BB=maps.linear_BB / size)


def basis_moments(
    model: MTP, structures: WeightedSet, sample: np.ndarray, context: WorkerContext
) -> tuple[Tensor, Tensor]:
    """Mean (B) and covariance (B, B) of the basis functions over the atoms of a sample."""
    n = len(model.basis.scalars)

    def of_share(share: Share) -> Tensor:
        basis_AB = basis_functions(model, share.batch).double()
        square_BB = basis_AB.T @ basis_AB
        atoms = square_BB.new_tensor([share.batch.n_atoms])
        return torch.cat([square_BB.reshape(-1), basis_AB.sum(0), atoms])

    with one_thread():
        total = sum_in_parts(structures, sample, n * n + n + 1, context, of_share)
    mean_B = total[n * n : -1] / total[-1]
    return mean_B, total[: n * n].reshape(n, n) / total[-1] - mean_B[:, None] * mean_B


def standardise_network(model: MTP, train: WeightedSet, seed: int, context: WorkerContext) -> None:
    """Scale and shift the first layer of a network that is not trained: what its neurons see has
    mean 0 and deviation 1, whatever the size of the basis functions.
    """
    mean_B, covariance_BB = basis_moments(model, train, train.sample(seed), context)
    first = model.readout.layers[0]
    with torch.no_grad():
        weight = first.weight.detach().cpu().double()
        size = ((weight @ covariance_BB) * weight).sum(1).clamp(min=1e-300).sqrt()
        weight = weight / size[:, None]
        first.weight.copy_(weight)
        first.bias.copy_(-weight @ mean_B)


def whitened(
    model: MTP,
    train: WeightedSet,
    coefficients: Mapping[str, float],
    seed: int,
    context: WorkerContext,
    shared: bool = False,
) -> Maps:
    """The maps of a stage with these coefficients, at a potential; `shared`: for radial functions
    that pairs of species share, where no pair has units of its own.
    """
    sample = train.sample(seed)
    gram_QQ = radial_gram(model.radial, train, sample, context)
    maps = Maps.identity(model).with_radial(orthonormal(gram_QQ))
    found = equations(model, train, coefficients, sample, context)
    loss = least_loss(found, len(model.basis.scalars))
    maps = with_linear_part(maps, found, len(model.basis.scalars), loss, coefficients)
    if not shared and loss > 0:
        place = (sample, maps.radial_QQ, loss, seed, context)
        maps = maps.with_units(model, *pair_units(model, train, coefficients, *place))
    if model.widths:
        maps = with_input(maps, *basis_moments(model, train, sample, context))
    return maps
