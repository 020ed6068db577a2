"""A potential in seconds, for benchmarks that need one: random radial functions, then the linear
least squares of energies, forces and stress.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.neighbors import edge_lengths, edges
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp.engine import normal_equations
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape

WEIGHTS = (100.0, 0.01, 100.0)
"""Of squared errors in eV/atom, eV/A, eV/A^3."""

DECAY = 0.5
"""Size of a random radial coefficient against that of the Chebyshev polynomial before."""

RIDGE = 1e-12
"""Of columns of size 1."""


def fitted(
    structures: Sequence[Structure], level: int, cutoff: float = 5.0, n_q: int = 8, seed: int = 0
) -> MTP:
    """A linear potential of labelled structures."""
    species = sorted({int(z) for s in structures for z in s.numbers})
    radial = RadialShape(cutoff, 0.99 * shortest(structures, cutoff), n_q, scaling=0.06)
    model = MTP(species, make_basis(Levels(level)), radial)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.radial_coeffs.normal_(generator=generator)
        model.radial_coeffs *= DECAY ** torch.arange(n_q)
    solve(model, structures)
    return model


def solve(model: MTP, structures: Sequence[Structure]) -> None:
    """Set xi and E0 to the least squares."""
    equations = []
    for start in range(0, len(structures), 32):
        batch = batch_from_structures(structures[start : start + 32], model.cutoff)
        weights_S3 = torch.tensor(WEIGHTS).expand(batch.n_structures, 3)
        equations.append(normal_equations(model, batch, weights_S3))
    matrix_PP = sum(e.matrix_PP for e in equations)
    right_P = sum(e.right_P for e in equations)
    size_P = matrix_PP.diagonal().clamp(min=1e-300).sqrt()
    scaled_PP = matrix_PP / torch.outer(size_P, size_P) + RIDGE * torch.eye(len(size_P))
    solution_P = torch.linalg.solve(scaled_PP, right_P / size_P) / size_P
    n_basis = len(model.basis.scalars)
    with torch.no_grad():
        model.readout.moment_coeffs.copy_(solution_P[:n_basis])
        model.species_coeffs.copy_(solution_P[n_basis:])


def shortest(structures: Sequence[Structure], cutoff: float) -> float:
    """The shortest distance of all pairs, A."""
    return min(
        edge_lengths(s.positions, s.cell, *edges(s.positions, s.cell, s.pbc, cutoff)).min()
        for s in structures
    )
