"""Where a training starts: random radial functions of unit size, a standardised basis, E0 from the
data.

Every figure is a sum over structures, one all-reduce, then the same computation on each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..mtp.engine.torch_engine import sum_by
from ..mtp.levels import Basis
from ..mtp.model import MTP, RadialShape
from ..mtp.radial import radial_basis
from .batches import n_labels, permutation, shares
from .context import Structures, WorkerContext

SAMPLE = 256
"""Structures of the training set over which the radial functions are normalised."""

PAIR_SPREAD = 0.3
"""Random radial coefficients: a part common to all species pairs, and this much of its own."""

RIDGE = 1e-3
"""Of the mean eigenvalue of the radial Gram matrix: keeps functions small where no edge is seen."""


def new_model(
    species: Sequence[int],
    basis: Basis,
    radial: RadialShape,
    widths: Sequence[int],
    structures: Structures,
    context: WorkerContext,
    seed: int,
) -> MTP:
    """A potential with random parameters, standardised over a sample of the training set."""
    sample = permutation(len(structures), seed, 0)[:SAMPLE]
    gram_QQ = _radial_gram(radial, structures, sample, context)
    size = float(gram_QQ.diagonal().mean()) or 1.0
    model = MTP(species, basis, replace(radial, scaling=radial.scaling * size**-0.5), widths)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        coeffs = _radial_coeffs(gram_QQ / size, len(species), basis.n_radial, generator)
        model.radial_coeffs.copy_(coeffs)
        for layer in model.readout.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
    return model.to(context.device)


def _radial_gram(
    radial: RadialShape, structures: Structures, sample, context: WorkerContext
) -> Tensor:
    """Sum over edges of the products of two radial basis functions, per atom: (Q, Q)."""
    gram = torch.zeros(radial.n_q**2 + 1, dtype=torch.float64, device=context.device)
    for share in shares(structures, sample, 32, context):
        r_E = share.batch.edge_vectors().norm(dim=-1)
        basis_EQ = radial_basis(r_E, radial.min_dist, radial.cutoff, radial.n_q, radial.scaling)
        gram[:-1] += (basis_EQ.T @ basis_EQ).reshape(-1)
        gram[-1] += share.batch.n_atoms
    gram = context.sum_over_workers(gram).cpu()
    return (gram[:-1] / gram[-1].clamp(min=1)).reshape(radial.n_q, radial.n_q)


def _radial_coeffs(
    gram_QQ: Tensor, n_species: int, n_radial: int, generator: torch.Generator
) -> Tensor:
    """Random (C, C, R, Q) such that the square of f_mu, summed over an atom's edges, is 1 on
    average.
    """
    n_q = len(gram_QQ)
    gram_QQ = gram_QQ + RIDGE * gram_QQ.diagonal().mean() * torch.eye(n_q, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(gram_QQ)
    options = {"dtype": torch.float64, "generator": generator}
    common = torch.randn(1, 1, n_radial, n_q, **options)
    own = torch.randn(n_species, n_species, n_radial, n_q, **options)
    directions = common + PAIR_SPREAD * own
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return directions @ torch.diag(values.clamp(min=1e-12) ** -0.5) @ vectors.T


def solve_reference_energies(
    model: MTP, structures: Structures, context: WorkerContext, batch_size: int
) -> None:
    """Move E0 to the least squares of the energies per atom, forces and stress as they are.

    minimise sum_S ((E_S - E_ref - sum_c n_Sc d_c) / N_S)^2; the shortest d where species never
    vary independently, or are absent.
    """
    c = len(model.species)
    totals = torch.zeros(c * c + c, dtype=torch.float64, device=context.device)
    everything = np.arange(len(structures))
    for share in shares(structures, everything, batch_size, context):
        fraction_SC, residual_S = _energy_equations(model, share.batch)
        totals[: c * c] += (fraction_SC.T @ fraction_SC).reshape(-1)
        totals[c * c :] += fraction_SC.T @ residual_S
    totals = context.sum_over_workers(totals).cpu()
    if n_labels(structures.counts, everything)["energy"] == 0:
        return
    matrix, right = totals[: c * c].reshape(c, c), totals[c * c :]
    shift_C = torch.linalg.pinv(matrix, hermitian=True, rtol=1e-10) @ right
    with torch.no_grad():
        model.species_coeffs += shift_C.to(model.species_coeffs)


def _energy_equations(model: MTP, batch: Batch) -> tuple[Tensor, Tensor]:
    """Fractions of the species (S, C) and missing energy per atom (S) where a label is present."""
    present_S = ~batch.energy_S.isnan()
    one_hot_AC = torch.nn.functional.one_hot(model.species_A(batch), len(model.species)).double()
    count_SC = sum_by(batch.structure_A, one_hot_AC, batch.n_structures)
    atoms_S = batch.atoms_S.double()
    energy_S = model(batch).energy_S
    return (
        (count_SC / atoms_S[:, None])[present_S],
        ((batch.energy_S - energy_S) / atoms_S)[present_S],
    )
