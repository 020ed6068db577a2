"""Batch: concatenated structures with their edges and labels, the only type that data and model
share.

Shape letters: S structures, A atoms of all structures, E directed edges, sorted by center; N rows
of the arrays in which the edges lie.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Structures, edges and labels of one evaluation. Lengths in A, energies in eV.

    The edges of atom a are the rows first_edge_A[a], first_edge_A[a] + 1, ... of `neighbors_N` and
    `shifts_N3`, n_edges_A[a] of them. The rows may belong to a whole set of structures, in which
    case drawing a batch touches no edge; the same edges one after the other are `center_E`,
    `neighbor_E`, `shift_E3`, made when they are first asked for.

    A label that is absent is NaN; `volume_S` is NaN where a structure is not periodic along three
    vectors, so that its stress is not defined.
    """

    numbers_A: Tensor  # int64, atomic numbers
    structure_A: Tensor  # int64, index of the structure of each atom, ascending
    positions_A3: Tensor  # float64
    cell_S33: Tensor  # float64, rows are lattice vectors; zero rows where there is none
    volume_S: Tensor  # float64, |det cell| or NaN
    weight_S: Tensor  # float64, of the structure in the loss
    first_edge_A: Tensor  # int64
    n_edges_A: Tensor  # int32
    neighbors_N: Tensor  # int32, counted from the first atom of the structure
    shifts_N3: Tensor  # int16, lattice shift of the neighbor
    energy_S: Tensor | None = None  # total energy
    forces_A3: Tensor | None = None
    stress_S6: Tensor | None = None  # eV/A^3, Voigt, positive under tension

    @property
    def n_structures(self) -> int:
        return self.cell_S33.shape[0]

    @property
    def n_atoms(self) -> int:
        return self.numbers_A.shape[0]

    @cached_property
    def n_edges(self) -> int:
        return int(self.n_edges_A.sum())

    @cached_property
    def first_atom_S(self) -> Tensor:
        """Index of the first atom of each structure."""
        return torch.searchsorted(self.structure_A, self._arange(self.n_structures))

    @cached_property
    def atoms_S(self) -> Tensor:
        """Number of atoms of each structure."""
        ends = torch.searchsorted(self.structure_A, self._arange(self.n_structures), right=True)
        return ends - self.first_atom_S

    @cached_property
    def center_E(self) -> Tensor:
        """Atom that an edge starts from: int64, ascending."""
        return torch.repeat_interleave(
            self._arange(self.n_atoms), self.n_edges_A, output_size=self.n_edges
        )

    @cached_property
    def neighbor_E(self) -> Tensor:
        """Atom that an edge ends at: int64."""
        first_atom_E = self.first_atom_S[self.structure_A[self.center_E]]
        return self.neighbors_N[self._edge_E].long() + first_atom_E

    @cached_property
    def shift_E3(self) -> Tensor:
        """Lattice shift of the neighbor: int16."""
        return self.shifts_N3[self._edge_E]

    def edge_vectors(self) -> Tensor:
        """r_E3 = positions[neighbor] + shift @ cell - positions[center]."""
        cell_E33 = self.cell_S33[self.structure_A[self.center_E]]
        shift_E3 = self.shift_E3.to(self.cell_S33.dtype)
        offset_E3 = torch.einsum("ei,eij->ej", shift_E3, cell_E33)
        return self.positions_A3[self.neighbor_E] + offset_E3 - self.positions_A3[self.center_E]

    def with_own_edges(self) -> Batch:
        """The same batch with its edges copied out of the set that they lie in."""
        n_edges_A = self.n_edges_A.long()
        return replace(
            self,
            first_edge_A=n_edges_A.cumsum(0) - n_edges_A,
            neighbors_N=self.neighbors_N[self._edge_E],
            shifts_N3=self.shift_E3,
        )

    def within(self, cutoff: float) -> Batch:
        """The same batch with the edges of r < cutoff alone, in A, its own."""
        own = self.with_own_edges()
        inside_E = own.edge_vectors().norm(dim=-1) < cutoff
        n_edges_A = torch.bincount(own.center_E[inside_E], minlength=own.n_atoms)
        return replace(
            own,
            first_edge_A=n_edges_A.cumsum(0) - n_edges_A,
            n_edges_A=n_edges_A.to(own.n_edges_A.dtype),
            neighbors_N=own.neighbors_N[inside_E],
            shifts_N3=own.shifts_N3[inside_E],
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device, which receives the batch's own edges alone."""
        if device == self.positions_A3.device:
            return self
        own = self.with_own_edges()
        tensors = {f.name: getattr(own, f.name) for f in fields(own)}
        moved = replace(own, **{k: v.to(device) for k, v in tensors.items() if v is not None})
        vars(moved)["n_edges"] = self.n_edges  # known here: asking the device would wait for it
        return moved

    @cached_property
    def _edge_E(self) -> Tensor:
        """Row of every edge in `neighbors_N` and `shifts_N3`."""
        n_edges_A = self.n_edges_A.long()
        skipped_A = self.first_edge_A - (n_edges_A.cumsum(0) - n_edges_A)
        return self._arange(self.n_edges) + skipped_A[self.center_E]

    def _arange(self, n: int) -> Tensor:
        return torch.arange(n, device=self.structure_A.device)


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a batch: eV, eV/A, eV/A^3 (NaN where a stress is not defined)."""

    energy_S: Tensor
    energies_A: Tensor
    forces_A3: Tensor
    stress_S6: Tensor
