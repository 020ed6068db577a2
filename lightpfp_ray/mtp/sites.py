"""What belongs to one atom: its basis functions B(n_i), and its virial

    W_i = sum_j r_ij (x) g_ij,     g_ij = dV(n_i)/dr_ij,     sum_i W_i = stress * volume

W_i is symmetric, because V(n_i) does not change under rotation. The compiled engine gives both;
without it, it is plain torch in blocks of edges, so that memory does not grow with the number of
atoms.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import Batch
from ..units import VOIGT
from .engine import compiled
from .engine.torch_engine import sum_by
from .model import MTP
from .radial import core_repulsion

BLOCK = 1 << 16
"""Edges that are evaluated together: about 100 MB at level 16."""


@dataclass(frozen=True)
class Block:
    """The neighborhoods of consecutive atoms; `center_E` counts from the first of them."""

    r_E3: Tensor
    center_E: Tensor
    species_E: Tensor  # of the center
    neighbor_species_E: Tensor
    n_atoms: int


def basis_functions(model: MTP, batch: Batch) -> Tensor:
    """B_b of every atom, in double precision whatever the model's: (A, B)."""
    if _is_for_compiled(model, batch):
        return compiled.basis_functions(model, batch)
    if model.dtype != torch.float64:
        model = copy.deepcopy(model).double()
    with torch.no_grad():
        parts = [_basis(model, block) for block in blocks(model, batch)]
    return torch.cat([model.radial_coeffs.new_zeros(0, len(model.basis.scalars)), *parts])


def virials(model: MTP, batch: Batch) -> Tensor:
    """W of every atom, eV: (A, 6), Voigt; the sum over a structure is its stress times volume."""
    if _is_for_compiled(model, batch):
        return compiled.virials(model, batch)
    parts = [_virials(model, block) for block in blocks(model, batch)]
    return torch.cat([model.radial_coeffs.new_zeros(0, 6), *parts])


def _is_for_compiled(model: MTP, batch: Batch) -> bool:
    on_cpu = batch.positions_A3.device.type == "cpu" and model.dtype in compiled.DTYPES
    return on_cpu and compiled.native() is not None


def blocks(model: MTP, batch: Batch) -> Iterator[Block]:
    """All neighborhoods in order, about BLOCK edges at a time."""
    species_A = model.species_A(batch)
    r_E3 = batch.edge_vectors().to(model.dtype)
    species_E, neighbor_species_E = species_A[batch.center_E], species_A[batch.neighbor_E]
    last_edge_A = batch.n_edges_A.long().cumsum(0)
    atom, edge = 0, 0
    while atom < batch.n_atoms:
        end = int(torch.searchsorted(last_edge_A, edge + BLOCK, right=True))
        end = max(end, atom + 1)
        rows = slice(edge, int(last_edge_A[end - 1]))
        yield Block(
            r_E3[rows],
            batch.center_E[rows] - atom,
            species_E[rows],
            neighbor_species_E[rows],
            end - atom,
        )
        atom, edge = end, rows.stop


def _basis(model: MTP, block: Block) -> Tensor:
    return model.neighborhood_basis(
        block.r_E3, block.center_E, block.species_E, block.neighbor_species_E, block.n_atoms
    )


def _virials(model: MTP, block: Block) -> Tensor:
    r_E3 = block.r_E3.requires_grad_()
    with torch.enable_grad():
        total = model.readout(_basis(model, block)).sum()
        if model.radial.repulsion:
            total = total + core_repulsion(r_E3.norm(dim=-1), model.radial.min_dist).sum()
        (g_E3,) = torch.autograd.grad(total, r_E3)
    r_E3 = r_E3.detach()
    terms_E6 = torch.stack([r_E3[:, i] * g_E3[:, j] for i, j in VOIGT], -1)
    return sum_by(block.center_E, terms_E6, block.n_atoms)
