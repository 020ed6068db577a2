"""The radial functions: f_mu(r, z_i, z_j) = sum_q c[z_i, z_j, mu, q] T_q(s(r)) * scaling * (r_c -
r)^2 for r < r_c, else 0.

    s(r) = (2 r - (r_min + r_c)) / (r_c - r_min),     T_0 = 1, T_1 = s, T_{q+1} = 2 s T_q - T_{q-1}

Shapeev 2016, eq. 3.2; Novikov et al. 2021, eq. 5. Below r_min the polynomials go on (s < -1).
"""

from math import exp

import torch
from torch import Tensor


def chebyshev(s_E: Tensor, n_q: int) -> Tensor:
    """T_q(s) for q < n_q: (E, Q)."""
    terms = [torch.ones_like(s_E), s_E]
    while len(terms) < n_q:
        terms.append(2 * s_E * terms[-1] - terms[-2])
    return torch.stack(terms[:n_q], -1)


def smooth_cutoff(r_E: Tensor, cutoff: float) -> Tensor:
    """(r_c - r)^2 inside, 0 outside: value and first derivative vanish at the cutoff."""
    return torch.where(r_E < cutoff, (cutoff - r_E) ** 2, torch.zeros_like(r_E))


def radial_basis(r_E: Tensor, min_dist: float, cutoff: float, n_q: int, scaling: float) -> Tensor:
    """T_q(s(r)) * scaling * (r_c - r)^2: (E, Q)."""
    s_E = (2 * r_E - (min_dist + cutoff)) / (cutoff - min_dist)
    return chebyshev(s_E, n_q) * (scaling * smooth_cutoff(r_E, cutoff))[:, None]


def radial_functions(
    basis_EQ: Tensor, coeffs_CCRQ: Tensor, center_E: Tensor, neighbor_E: Tensor
) -> Tensor:
    """f_mu of every edge: (E, R); `center_E`, `neighbor_E` are the species of its two atoms."""
    return torch.einsum("eq,erq->er", basis_EQ, coeffs_CCRQ[center_E, neighbor_E])


def core_repulsion(r_E: Tensor, min_dist: float) -> Tensor:
    """10000 (exp(-10 (r - 1)) - exp(-10 (r_min - 1))) eV below r_min, else 0: MLIP's
    RBChebyshev_repuls.
    """
    wall_E = 1e4 * (torch.exp(-10 * (r_E - 1)) - exp(-10 * (min_dist - 1)))
    return torch.where(r_E < min_dist, wall_E, torch.zeros_like(r_E))
