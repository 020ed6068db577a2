"""Coordinates in which the radial functions of a pair of species share what is of each of the two,
in units of the size of the pair.

    gamma[z, w] = (a[z] + b[w]) S[z, w] + OWN o[z, w]
    S[z, w]:      of f(r) makes f(r / t),   t = (R_z + R_w) / mean of all pairs, within STRETCHED

R are the radii of the species: bonds of large atoms are like those of small ones, at larger
distances (the universal binding curve, Rose et al. 1984). A pair that the structures hold rarely
learns from all others of its species; one that they never hold has what its species share. An
optimizer walks in a, b and o together: there are more of them than parameters, and the shared parts
move first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..mtp.model import MTP, RadialShape
from ..mtp.radial import radial_basis
from .coordinates import RADIAL, Coordinates, Maps
from .parts import one_thread

CENTER, NEIGHBOR = "radial_center", "radial_neighbor"

OWN = 0.3
"""How far a pair goes its own way while the parts of its species go 1."""

STRETCHED = (0.6, 1.6)
"""Least and largest t."""

NEAREST, POINTS = 1.2, 400
"""A, and how many distances from there to the cutoff: where a stretched function is fitted."""

RIDGE = {"function": 1e-6, "parts": 1e-9}
"""Of the mean diagonal element of a normal matrix: of that fit, and of what is shared."""


def stretches(shape: RadialShape, radii: Sequence[float]) -> Tensor:
    """S (C, C, Q, Q) for coefficients of T_q, by least squares; `radii` of the species, A."""
    radii_C = torch.tensor(radii, dtype=torch.float64)
    sums_CC = radii_C[:, None] + radii_C
    t_P = (sums_CC / sums_CC.mean()).clamp(*STRETCHED).reshape(-1)
    r_X = torch.linspace(NEAREST, shape.cutoff, POINTS, dtype=torch.float64)

    def basis(r: Tensor) -> Tensor:
        return radial_basis(r, shape.min_dist, shape.cutoff, shape.n_q, shape.scaling)

    plain_XQ = basis(r_X)
    stretched_PXQ = basis((r_X / t_P[:, None]).reshape(-1)).reshape(len(t_P), POINTS, -1)
    normal_QQ = _with_ridge(plain_XQ.T @ plain_XQ, RIDGE["function"])
    with one_thread():
        found_PQQ = torch.linalg.solve(normal_QQ, plain_XQ.T @ stretched_PXQ).mT
    return found_PQQ.reshape(len(radii), len(radii), shape.n_q, shape.n_q)


def _with_ridge(matrix_NN: Tensor, ridge: float) -> Tensor:
    return matrix_NN + ridge * matrix_NN.diagonal().mean() * torch.eye(len(matrix_NN)).to(matrix_NN)


def with_stretch(maps: Maps, model: MTP, radii: Sequence[float]) -> Maps:
    """Maps for shared pairs of species of these radii (A); without any, none is stretched."""
    if not radii:
        return maps
    inverse_QQ = torch.linalg.inv(maps.radial_QQ)
    stretch_CCQQ = maps.radial_QQ @ stretches(model.radial, radii) @ inverse_QQ
    return replace(maps, stretch_CCQQ=stretch_CCQQ)


class SharedPairs(Coordinates):
    """The walkers of `Coordinates`, with a and b beside o in place of gamma."""

    def _of(self, model: MTP) -> dict[str, Tensor]:
        found = super()._of(model)
        center, neighbor, own = parts_of(found[RADIAL], self.maps.stretch_CCQQ)
        return found | {RADIAL: own / OWN, CENTER: center, NEIGHBOR: neighbor}

    def parameters(self) -> dict[str, Tensor]:
        made = super().parameters()
        shared = (made.pop(CENTER) + made.pop(NEIGHBOR)) @ self.maps.stretch_CCQQ
        made[RADIAL] = OWN * made[RADIAL] + shared @ self.maps.radial_QQ
        return made


def parts_of(radial_CCRQ: Tensor, stretch_CCQQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a (C, 1, R, Q), b (1, C, R, Q) and the rest (C, C, R, Q), which is as small as can be."""
    n_species, _, n_functions, n_q = radial_CCRQ.shape
    stretch_CCQQ = stretch_CCQQ.expand(n_species, n_species, n_q, n_q)
    square_CCQQ = stretch_CCQQ @ stretch_CCQQ.mT
    right_CCRQ = radial_CCRQ @ stretch_CCQQ.mT
    of_centers, of_neighbors = (torch.zeros_like(square_CCQQ) for _ in range(2))
    each = torch.arange(n_species)
    of_centers[each, each], of_neighbors[each, each] = square_CCQQ.sum(1), square_CCQQ.sum(0)
    rows = (
        torch.cat([of_centers, square_CCQQ], 1),
        torch.cat([square_CCQQ.transpose(0, 1), of_neighbors], 1),
    )
    matrix_NN = torch.cat(rows).transpose(1, 2).reshape(2 * n_species * n_q, -1)
    right_NR = torch.cat([right_CCRQ.sum(1), right_CCRQ.sum(0)]).mT.reshape(-1, n_functions)
    with one_thread():
        found_NR = torch.linalg.solve(_with_ridge(matrix_NN, RIDGE["parts"]), right_NR)
    center, neighbor = found_NR.reshape(2, n_species, n_q, n_functions).mT
    shared_CCRQ = (center[:, None] + neighbor[None]) @ stretch_CCQQ
    return center[:, None], neighbor[None], radial_CCRQ - shared_CCRQ


def keep_shared(model: MTP, radii: Sequence[float]) -> None:
    """Leave of random radial functions only what the pairs share, and stretch it."""
    maps = with_stretch(Maps.identity(model), model, radii)
    coeffs_CCRQ = model.radial_coeffs.detach().cpu().double()
    center, neighbor, _ = parts_of(coeffs_CCRQ, Maps.identity(model).stretch_CCQQ)
    with torch.no_grad():
        model.radial_coeffs.copy_((center + neighbor) @ maps.stretch_CCQQ)
