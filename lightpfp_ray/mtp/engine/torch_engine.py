"""The reference engine: plain torch, derivatives by autograd.

    g_ij = dV(n_i)/dr_ij;   F_i += g_ij, F_j -= g_ij;   stress = sum r_ij (x) g_ij / |det cell|

Novikov et al. 2021, eqs. 1-6. With `training` the graph of g is kept, so that a loss of forces can
be differentiated once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...batch import Batch, Prediction
from ...units import VOIGT

if TYPE_CHECKING:
    from ..model import MTP


def evaluate(model: MTP, batch: Batch, training: bool) -> Prediction:
    """Energies (eV), forces (eV/A) and stress (eV/A^3) of every structure of the batch."""
    r_E3 = batch.edge_vectors().to(model.dtype).requires_grad_()
    with torch.enable_grad():
        energies_A = model.site_energies(batch, r_E3)
        (g_E3,) = torch.autograd.grad(energies_A.sum(), r_E3, create_graph=training)
    if not training:
        energies_A = energies_A.detach()
    forces_A3, stress_S6 = forces_and_stress(batch, r_E3.detach(), g_E3)
    return Prediction(
        energy_S=sum_by(batch.structure_A, energies_A.double(), batch.n_structures),
        energies_A=energies_A,
        forces_A3=forces_A3,
        stress_S6=stress_S6,
    )


def forces_and_stress(batch: Batch, r_E3: Tensor, g_E3: Tensor) -> tuple[Tensor, Tensor]:
    """F_i += g_ij, F_j -= g_ij (A, 3), and the stress (S, 6), of g_ij = dV(n_i)/dr_ij."""
    forces_A3 = sum_by(batch.center_E, g_E3, batch.n_atoms)
    forces_A3 = forces_A3 - sum_by(batch.neighbor_E, g_E3, batch.n_atoms)
    return forces_A3, _stress(batch, r_E3, g_E3)


def sum_by(index_N: Tensor, values: Tensor, n: int) -> Tensor:
    """Sums of the rows of `values` that share an index: (n, ...)."""
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index_N, values)


def _stress(batch: Batch, r_E3: Tensor, g_E3: Tensor) -> Tensor:
    """Sum of r (x) g over the edges of a structure by its volume: (S, 6), NaN where no volume is
    defined.
    """
    virial_E6 = torch.stack([r_E3[:, i] * g_E3[:, j] for i, j in VOIGT], -1)
    virial_S6 = sum_by(batch.structure_A[batch.center_E], virial_E6.double(), batch.n_structures)
    volume_S1 = batch.volume_S[:, None]
    stress_S6 = virial_S6 / volume_S1.nan_to_num(1.0)
    return torch.where(volume_S1.isnan(), volume_S1, stress_S6)
