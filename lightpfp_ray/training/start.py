"""Where a training starts: random radial functions of unit size over the edges of the training set.

Every figure is a sum over structures, one all-reduce, then the same computation on each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..mtp.levels import Basis
from ..mtp.model import MTP, RadialShape
from ..mtp.radial import radial_basis
from .batches import Share, WeightedSet
from .context import Structures, WorkerContext
from .parts import one_thread, sum_in_parts

SAMPLE = 256
"""Structures of the training set over which the radial functions are normalised."""

SMOOTHNESS = 2.0
"""Random coefficients of the q-th orthonormal function fall as exp(-q / SMOOTHNESS)."""

PAIR_SPREAD = 0.3
"""Random radial coefficients: a part common to all species pairs, and this much of its own."""

RIDGE = 1e-6
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
    structures = WeightedSet.of(structures, {})
    sample = structures.sample(seed, SAMPLE)
    gram_QQ = radial_gram(radial, structures, sample, context)
    size = float(gram_QQ.diagonal().mean()) or 1.0
    model = MTP(species, basis, replace(radial, scaling=radial.scaling * size**-0.5), widths)
    _draw(model, gram_QQ / size, seed)
    return model.to(context.device)


def begin_anew(model: MTP, structures: WeightedSet, context: WorkerContext, seed: int) -> None:
    """Give a potential the random parameters of a seed."""
    sample = structures.sample(seed, SAMPLE)
    _draw(model, radial_gram(model.radial, structures, sample, context), seed)


def _draw(model: MTP, gram_QQ: Tensor, seed: int) -> None:
    """Random radial functions and network; xi and E0 are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        coeffs = model.radial_coeffs
        coeffs.copy_(random_radial(coeffs.shape, orthonormal(gram_QQ), generator))
        model.readout.moment_coeffs.zero_()
        model.species_coeffs.zero_()
        if model.widths:
            _draw_network(model, generator)


def _draw_network(model: MTP, generator: torch.Generator) -> None:
    """Random hidden layers, and a last one that is zero: the potential is its linear path."""
    for layer in model.readout.layers[:-1]:
        drawn = torch.empty_like(layer.weight, device="cpu")
        layer.weight.copy_(drawn.normal_(0, layer.in_features**-0.5, generator=generator))
        layer.bias.zero_()
    model.readout.layers[-1].weight.zero_()


def radial_gram(
    radial: RadialShape, structures: WeightedSet, sample: np.ndarray, context: WorkerContext
) -> Tensor:
    """Sum over edges of the products of two radial basis functions, per atom: (Q, Q)."""

    def of_share(share: Share) -> Tensor:
        r_E = share.batch.edge_vectors().norm(dim=-1)
        basis_EQ = radial_basis(r_E, radial.min_dist, radial.cutoff, radial.n_q, radial.scaling)
        square_QQ = basis_EQ.T @ basis_EQ
        return torch.cat([square_QQ.reshape(-1), square_QQ.new_tensor([share.batch.n_atoms])])

    with one_thread():
        gram = sum_in_parts(structures, sample, radial.n_q**2 + 1, context, of_share)
    return (gram[:-1] / gram[-1].clamp(min=1)).reshape(radial.n_q, radial.n_q)


def orthonormal(gram_QQ: Tensor) -> Tensor:
    """K: the functions K T have the unit Gram matrix over the edges, but for a small ridge; each
    holds no T_q of a higher q than its own.
    """
    n_q = len(gram_QQ)
    size = gram_QQ.diagonal().mean().clamp(min=1e-300)
    gram_QQ = gram_QQ + RIDGE * size * torch.eye(n_q, dtype=torch.float64)
    return torch.linalg.inv(torch.linalg.cholesky(gram_QQ))


def smoothness(n_q: int) -> Tensor:
    """What a random function has of each of the orthonormal ones (Q), but for its size."""
    return torch.exp(-torch.arange(n_q, dtype=torch.float64) / SMOOTHNESS)


def random_radial(shape: torch.Size, orthonormal_QQ: Tensor, generator: torch.Generator) -> Tensor:
    """Random (C, C, R, Q) such that the square of f_mu, summed over an atom's edges, is 1 on
    average; smooth functions are likelier than those that wave.
    """
    n_q = shape[-1]
    options = {"dtype": torch.float64, "generator": generator}
    directions = torch.randn(1, 1, *shape[2:], **options)
    directions = directions + PAIR_SPREAD * torch.randn(*shape, **options)
    directions = directions * smoothness(n_q)
    return (directions / directions.norm(dim=-1, keepdim=True)) @ orthonormal_QQ
