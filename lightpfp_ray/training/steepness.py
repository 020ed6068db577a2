"""How steeply the loss rises with the radial functions of each pair of species, and how far an
optimizer may move them.

    H[z, w] = J^T J,            J: weighted residuals by the orthonormal coefficients of the pair
            = mean of g g^T,    g = J^T s, s random signs (Hutchinson 1990)
    Y Y^T = D (1 + D H D / L_0)^-1 D,       D: what a random function has of each coefficient

A step of size 1 along a coordinate raises the loss by L_0 where the loss is steep, and changes a
function by what two random ones differ in where it is flat. There the functions are held to where
they are: what is thought of them before any label is that they differ from it by D, and N labels
with a loss of L_0 say

    L + L_0 / N |D^-1 (gamma - gamma_0)|^2     (the most probable functions, MacKay 1992)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import Share, WeightedSet
from .context import WorkerContext
from .loss import per_label, residuals
from .parts import BLOCK, one_thread, sum_in_parts
from .start import smoothness

GRADIENTS = 512
"""At least so many g: several times the coefficients of a pair."""

LARGEST = 1 << 20
"""Numbers in all H; beyond it the functions of a pair are taken each by itself."""


def pair_units(
    model: MTP,
    structures: WeightedSet,
    coefficients: Mapping[str, float],
    sample: np.ndarray,
    radial_QQ: Tensor,
    loss: float,
    seed: int,
    context: WorkerContext,
) -> tuple[Tensor, Tensor]:
    """Y (M, J, J) of a stage, blocks of J of the R Q coefficients of a pair, and what holds them,
    in these units. `radial_QQ` makes them orthonormal, `loss` is L_0.
    """
    found = steepness(model, structures, coefficients, sample, radial_QQ, seed, context)
    return units(found.flatten(0, 2), model.radial.n_q, loss, structures)


def units(
    steep_MJJ: Tensor, n_q: int, loss: float, structures: WeightedSet, free: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Y and what holds its coordinates, both (M, J, J); where the loss is flat a step of size 1
    changes a function by free^-1/2 times what two random ones differ in.
    """
    size_J = smoothness(n_q).repeat(steep_MJJ.shape[-1] // n_q)
    with one_thread():
        values, vectors = torch.linalg.eigh(size_J[:, None] * steep_MJJ * size_J)
    scale = (free + values.clamp(min=0) / loss).rsqrt()
    n_labels = max(1, sum(structures.labels(structures.everything).count.values()))
    hold_MJJ = 2 * loss / n_labels * (vectors * scale.square()[..., None, :]) @ vectors.mT
    return size_J[:, None] * ((vectors * scale[..., None, :]) @ vectors.mT), hold_MJJ


def steepness(
    model: MTP,
    structures: WeightedSet,
    coefficients: Mapping[str, float],
    sample: np.ndarray,
    radial_QQ: Tensor,
    seed: int,
    context: WorkerContext,
) -> Tensor:
    """H (C, C, N, J, J) of some structures, in float64 on the CPU."""
    factor_3 = per_label(structures.labels(sample), coefficients).to(context.device)
    draws = -(-GRADIENTS // -(-len(sample) // BLOCK))
    n_species, _, n_functions, n_q = model.radial_coeffs.shape
    n_blocks = 1 if (n_species * n_functions * n_q) ** 2 <= LARGEST else n_functions
    block = n_functions * n_q // n_blocks
    shape = (n_species, n_species, n_blocks, block, block)
    radial_QQ = radial_QQ.to(context.device)

    def of_share(share: Share) -> Tensor:
        found = residuals(model(share.batch, training=True), share.batch)
        roots = roots_of(share, factor_3)
        signs = np.random.default_rng([seed, *share.numbers])
        total = 0.0
        for _ in range(draws):
            weights = signed(roots, found, signs)
            (slope,) = torch.autograd.grad(found, model.radial_coeffs, weights, retain_graph=True)
            g = (slope.double() @ radial_QQ.T).reshape(shape[:-1])
            total = total + g[..., :, None] * g[..., None, :]
        return total.reshape(-1) / draws

    size = math.prod(shape)
    return sum_in_parts(structures, sample, size, context, of_share).reshape(shape)


def roots_of(share: Share, factor_3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Square roots of what the square of each residual counts in the loss, to be broadcast."""
    root_S3 = (share.weights_S3 * factor_3).sqrt()
    return root_S3[:, 0], root_S3[share.batch.structure_A, 1:2], root_S3[:, 2:]


def signed(
    roots: Sequence[Tensor], residuals: Sequence[Tensor], signs: np.random.Generator
) -> list[Tensor]:
    """A random sign of each residual, times its root."""
    drawn = [signs.integers(0, 2, tuple(d.shape)) * 2.0 - 1.0 for d in residuals]
    return [root * torch.from_numpy(d).to(root) for root, d in zip(roots, drawn, strict=True)]
