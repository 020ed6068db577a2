"""A quick potential that labels are measured by: an MTP with random radial functions, linear least
squares.

    E = sum_p x_p E_p,   F = sum_p x_p F_p,   stress = sum_p x_p stress_p

The columns are the basis functions of a few MTPs of different random radial functions, and the E0
of the species. They are formed once, in closed form but for the derivatives of the edge functions:

    dB_b/dr_ij = sum_k dB_b/dM_k(n_i) dm_k/dr_ij,     M_k(n_i) = sum_j m_k(r_ij)

so that many robust fits, with and without some labels, cost nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..data.structure import Structure
from ..mtp.engine.torch_engine import sum_by
from ..mtp.levels import Levels, make_basis
from ..mtp.model import MTP, RadialShape
from ..mtp.moments import monomials_of, program
from ..mtp.radial import radial_basis, radial_functions
from ..units import VOIGT

LEVELS = Levels(levmax=8, init_cost=2, mu_cost=1, nu_cost=1)
N_Q = 8

BLOCK_EDGES = 100_000
"""Edges whose derivatives are held at once: about 60 MB for each random MTP."""


@dataclass(frozen=True)
class Design:
    """Columns of the labels of some structures, float64; P: basis functions, then species.

    Rows of forces are those of the atoms, structure after structure.
    """

    energy_SP: np.ndarray  # eV, of totals
    forces_NP: np.ndarray  # eV/A, N = 3 A
    stress_SP: np.ndarray  # eV/A^3, (S, 6, P), NaN where none is defined
    n_species: int


def design(
    batches: Sequence[Batch], min_dist: float, cutoff: float, seed: int, n_models: int
) -> Design:
    """Of batches whose edges are those within the cutoff; lengths in A."""
    species = sorted({int(z) for batch in batches for z in batch.numbers_A.unique()})
    radial = RadialShape(cutoff, min_dist, N_Q, scaling=1.0 / cutoff**2)
    models = [_random(species, radial, seed + n) for n in range(n_models)]
    parts = []
    for batch in batches:
        edges = _Edges.of(models[0], batch)
        columns = [_columns(model, edges) for model in models]
        parts.append([torch.cat(kind, -1) for kind in zip(*columns, strict=True)])
    energy_SB, forces_NB, stress_SB = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
    return Design(
        energy_SP=np.hstack([energy_SB, np.vstack([_counts(b, species) for b in batches])]),
        forces_NP=np.pad(forces_NB, ((0, 0), (0, len(species)))),
        stress_SP=np.pad(stress_SB, ((0, 0), (0, 0), (0, len(species)))),
        n_species=len(species),
    )


def _counts(batch: Batch, species: list[int]) -> np.ndarray:
    one_hot_AC = batch.numbers_A[:, None] == torch.tensor(species)
    return sum_by(batch.structure_A, one_hot_AC.double(), batch.n_structures).numpy()


def _random(species: list[int], radial: RadialShape, seed: int) -> MTP:
    model = MTP(species, make_basis(LEVELS), radial)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.radial_coeffs.normal_(generator=generator)
    return model


def blocks(structures: Sequence[Structure], cutoff: float) -> Iterator[list[Structure]]:
    """Consecutive structures with about as many edges as may be held; a guess by the volume."""
    block: list[Structure] = []
    edges = 0.0
    for structure in structures:
        atoms = len(structure.numbers)
        volume = abs(np.linalg.det(structure.cell)) or np.inf
        expected = atoms * max(20.0, 4.19 * cutoff**3 * atoms / volume)
        if block and edges + expected > BLOCK_EDGES:
            yield block
            block, edges = [], 0.0
        block.append(structure)
        edges += expected
    if block:
        yield block


@dataclass(frozen=True)
class _Edges:
    """What all the random potentials share on the edges of a batch."""

    batch: Batch
    center_E: Tensor
    neighbor_E: Tensor
    r_E3: Tensor
    basis_EQ: Tensor
    slope_EQ: Tensor  # d/dr
    monomials_EK: Tensor  # w(u), u = r_ij / r
    slopes_EK3: Tensor  # dw/du / r
    degree_K: Tensor

    @classmethod
    def of(cls, model: MTP, batch: Batch) -> _Edges:
        tensors = program(model.basis, torch.device("cpu"))
        exponents_K3, degree = tensors.exponents_K3, tensors.degree
        r_E3 = batch.edge_vectors()
        r_E = r_E3.norm(dim=-1)
        u_E3 = r_E3 / r_E[:, None]
        slopes = []
        for axis in range(3):
            lowered_K3 = exponents_K3.clone()
            lowered_K3[:, axis] = (lowered_K3[:, axis] - 1).clamp(min=0)
            lowered_EK = monomials_of(u_E3, lowered_K3, degree)
            slopes.append(exponents_K3[:, axis] * lowered_EK / r_E[:, None])
        return cls(
            batch,
            batch.center_E,
            batch.neighbor_E,
            r_E3,
            *_radial(model.radial, r_E),
            monomials_of(u_E3, exponents_K3, degree),
            torch.stack(slopes, -1),
            exponents_K3.sum(-1),
        )


def _radial(shape: RadialShape, r_E: Tensor) -> tuple[Tensor, Tensor]:
    """The radial basis and its derivative: (E, Q) each."""
    r_E = r_E.clone().requires_grad_()
    basis_EQ = radial_basis(r_E, shape.min_dist, shape.cutoff, shape.n_q, shape.scaling)
    slopes = [
        torch.autograd.grad(basis_EQ[:, q].sum(), r_E, retain_graph=True)[0]
        for q in range(shape.n_q)
    ]
    return basis_EQ.detach(), torch.stack(slopes, -1)


def _columns(model: MTP, edges: _Edges) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (S, B), forces (3 A, B) and stress (S, 6, B) of every basis function."""
    batch, tensors = edges.batch, program(model.basis, torch.device("cpu"))
    edge_EK, slope_EK3 = _edge_terms(model, edges)
    moments_AK = sum_by(edges.center_E, edge_EK, batch.n_atoms).requires_grad_()
    basis_AB = tensors.contract(moments_AK)
    jacobian_BAK = torch.stack(
        [
            torch.autograd.grad(basis_AB[:, b].sum(), moments_AK, retain_graph=True)[0]
            for b in range(basis_AB.shape[1])
        ]
    )
    g_EB3 = _chained(jacobian_BAK, slope_EK3, batch)
    forces_AB3 = sum_by(edges.center_E, g_EB3, batch.n_atoms)
    forces_AB3 -= sum_by(edges.neighbor_E, g_EB3, batch.n_atoms)
    structure_E = batch.structure_A[edges.center_E]
    virial_E6B = torch.stack([edges.r_E3[:, i, None] * g_EB3[:, :, j] for i, j in VOIGT], 1)
    virial_S6B = sum_by(structure_E, virial_E6B, batch.n_structures)
    return (
        sum_by(batch.structure_A, basis_AB.detach(), batch.n_structures),
        forces_AB3.transpose(1, 2).reshape(3 * batch.n_atoms, -1),
        virial_S6B / batch.volume_S[:, None, None],
    )


def _chained(jacobian_BAK: Tensor, slope_EK3: Tensor, batch: Batch) -> Tensor:
    """sum_k dB_b/dM_k(n_i) dm_k/dr_ij: (E, B, 3), one product of matrices an atom, whose edges
    are padded to the most that an atom has.
    """
    center_E = batch.center_E
    first_A = torch.searchsorted(center_E, torch.arange(batch.n_atoms))
    place_E = torch.arange(len(center_E)) - first_A[center_E]
    most = int(place_E.max()) + 1 if len(place_E) else 0
    n_basis, n_atoms, n_components = jacobian_BAK.shape
    padded_AKP3 = slope_EK3.new_zeros(n_atoms, n_components, most, 3)
    padded_AKP3[center_E, :, place_E] = slope_EK3
    product_ABP = jacobian_BAK.transpose(0, 1) @ padded_AKP3.reshape(n_atoms, n_components, -1)
    return product_ABP.reshape(n_atoms, n_basis, most, 3)[center_E, :, place_E]


def _edge_terms(model: MTP, edges: _Edges) -> tuple[Tensor, Tensor]:
    """m_k(r_ij) (E, K) and its derivatives (E, K, 3).

    m = f(r) w(u) with a monomial w of degree nu in u = r_ij / r:
    dm/dr_c = (f' - nu f / r) w(u) u_c + (f / r) dw/du_c
    """
    mu_K = program(model.basis, torch.device("cpu")).mu_K
    species_A = model.species_A(edges.batch)
    pair = species_A[edges.center_E], species_A[edges.neighbor_E]
    coeffs = model.radial_coeffs.detach()
    f_EK = radial_functions(edges.basis_EQ, coeffs, *pair)[:, mu_K]
    slope_EK = radial_functions(edges.slope_EQ, coeffs, *pair)[:, mu_K]
    r_E1 = edges.r_E3.norm(dim=-1)[:, None]
    along_EK = (slope_EK - edges.degree_K * f_EK / r_E1) * edges.monomials_EK
    derivative_EK3 = along_EK[:, :, None] * (edges.r_E3 / r_E1)[:, None, :]
    derivative_EK3 += f_EK[:, :, None] * edges.slopes_EK3
    return f_EK * edges.monomials_EK, derivative_EK3
