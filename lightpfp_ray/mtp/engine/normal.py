"""The normal equations of what is linear in a potential: xi of the basis functions, E0 of species.

    minimise  sum_S ( w_S0 d_E^2 + w_S1 sum d_F^2 + w_S2 sum d_S^2 )      over x = (xi, E0)
    d = X x - y,     matrix = X^T W X,     right = X^T W y,     square = y^T W y

A row of X is the energy per atom of a structure, a component of a force, or a component of a
stress, of every basis function and of every species' E0. This file forms X by autograd, one basis
function after the other: the reference of the compiled one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .torch_engine import forces_and_stress, sum_by

if TYPE_CHECKING:
    from ...batch import Batch
    from ..model import MTP


@dataclass(frozen=True)
class NormalEquations:
    """Sums over structures, float64; P: B basis functions, then the E0 of C species.

    A basis function is the raw one of the moments, its coefficient is xi of a .mtp file. Sums of
    several batches add up. The least squares are solve(matrix_PP, right_P), and their loss is
    square - right_P @ solution.
    """

    matrix_PP: Tensor
    right_P: Tensor
    square: Tensor  # scalar


def normal_equations(model: MTP, batch: Batch, weights_S3: Tensor) -> NormalEquations:
    """Of the labels of a batch that are present; `weights_S3` multiply squared residuals.

    Columns of `weights_S3`: energy per atom (eV), force components (eV/A), stress components
    (eV/A^3). What the potential holds beside its linear part (the repulsion of the cores) is taken
    off the labels. The readout has no part in it.
    """
    x_NP, wall_N = _design(model, batch)
    y_N, w_N = _labels(batch, weights_S3)
    y_N = y_N - wall_N
    present_N = ~y_N.isnan() & ~x_NP.isnan().any(-1)
    x_NP, y_N, w_N = x_NP[present_N], y_N[present_N], w_N[present_N]
    weighted_NP = w_N[:, None] * x_NP
    return NormalEquations(weighted_NP.T @ x_NP, weighted_NP.T @ y_N, (w_N * y_N) @ y_N)


def _design(model: MTP, batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows of every basis function and species (N, P), and those of the repulsion (N), float64."""
    r_E3 = batch.edge_vectors().to(model.dtype).requires_grad_()
    with torch.enable_grad():
        basis_AB = model.site_basis(batch, r_E3)
        columns = [_rows(batch, r_E3, basis_AB[:, b]) for b in range(basis_AB.shape[1])]
        wall_N = _rows(batch, r_E3, model.site_repulsion(batch, r_E3))
    one_hot_AC = torch.nn.functional.one_hot(model.species_A(batch), len(model.species)).double()
    columns += [_rows(batch, r_E3, one_hot_A) for one_hot_A in one_hot_AC.T]
    return torch.stack(columns, -1), wall_N


def _rows(batch: Batch, r_E3: Tensor, energies_A: Tensor) -> Tensor:
    """Energy per atom, forces and stress of a sum of site energies: (S + 3 A + 6 S)."""
    g_E3 = torch.zeros_like(r_E3)
    if energies_A.requires_grad:
        (g_E3,) = torch.autograd.grad(
            energies_A.sum(), r_E3, retain_graph=True, materialize_grads=True
        )
    energy_S = sum_by(batch.structure_A, energies_A.detach().double(), batch.n_structures)
    forces_A3, stress_S6 = forces_and_stress(batch, r_E3.detach(), g_E3)
    parts = (energy_S / batch.atoms_S, forces_A3.double().reshape(-1), stress_S6.reshape(-1))
    return torch.cat(parts)


def _labels(batch: Batch, weights_S3: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and weights in the order of the rows: (S + 3 A + 6 S) each, NaN where absent."""
    weights_S3 = weights_S3.to(torch.float64)
    labels = (batch.energy_S / batch.atoms_S, batch.forces_A3, batch.stress_S6)
    weights = (
        weights_S3[:, 0],
        weights_S3[batch.structure_A, 1].repeat_interleave(3),
        weights_S3[:, 2].repeat_interleave(6),
    )
    return torch.cat([label.reshape(-1) for label in labels]), torch.cat(weights)
