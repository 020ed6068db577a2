"""The normal equations of what is linear in a potential: xi of the basis functions, E0 of species.

    minimise  sum_S ( w_S0 d_E^2 + w_S1 sum d_F^2 + w_S2 sum d_S^2 )      over x = (xi, E0)
    d = X x - y,     matrix = X^T W X,     right = X^T W y,     square = y^T W y

A row of X is the energy per atom of a structure, a component of a force, or a component of a
stress, of every basis function and of every species' E0. `basis_rows` forms X by autograd, one
basis function after the other: the reference of the compiled one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import compiled
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
    compilable = batch.positions_A3.device.type == "cpu" and compiled.native()
    rows = compiled.basis_rows if compilable else basis_rows
    x_NP = torch.cat([rows(model, batch), _species_rows(model, batch)], -1)
    y_N, w_N = _labels(batch, weights_S3)
    if model.radial.repulsion:
        y_N = y_N - _wall(model, batch)
    present_N = ~y_N.isnan() & ~x_NP.isnan().any(-1)
    x_NP, y_N, w_N = x_NP[present_N], y_N[present_N], w_N[present_N]
    weighted_NP = w_N[:, None] * x_NP
    return NormalEquations(weighted_NP.T @ x_NP, weighted_NP.T @ y_N, (w_N * y_N) @ y_N)


def basis_rows(model: MTP, batch: Batch) -> Tensor:
    """Energy per atom, forces and stress of every basis function: (S + 3 A + 6 S, B), float64."""
    r_E3 = batch.edge_vectors().to(model.dtype).requires_grad_()
    with torch.enable_grad():
        basis_AB = model.site_basis(batch, r_E3)
        return torch.stack([_rows(batch, r_E3, basis_A) for basis_A in basis_AB.unbind(1)], -1)


def _species_rows(model: MTP, batch: Batch) -> Tensor:
    """Rows of the E0 of every species: (S + 3 A + 6 S, C), float64."""
    one_hot_AC = torch.nn.functional.one_hot(model.species_A(batch), len(model.species)).double()
    fraction_SC = sum_by(batch.structure_A, one_hot_AC, batch.n_structures) / batch.atoms_S[:, None]
    n_others = 3 * batch.n_atoms + 6 * batch.n_structures
    return torch.cat([fraction_SC, fraction_SC.new_zeros(n_others, len(model.species))])


def _wall(model: MTP, batch: Batch) -> Tensor:
    """Rows of the repulsion of the cores: (S + 3 A + 6 S), float64."""
    r_E3 = batch.edge_vectors().to(model.dtype).requires_grad_()
    with torch.enable_grad():
        return _rows(batch, r_E3, model.site_repulsion(batch, r_E3))


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
