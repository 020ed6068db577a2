"""Batch: concatenated structures with their edges and labels, the only type that data and model
share.

Shape letters: S structures, A atoms of all structures, E directed edges, sorted by center.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Structures, edges and labels of one evaluation. Lengths in A, energies in eV.

    A label that is absent is NaN; `volume_S` is NaN where a structure is not periodic along three
    vectors, so that its stress is not defined.
    """

    numbers_A: Tensor  # int64, atomic numbers
    structure_A: Tensor  # int64, index of the structure of each atom
    positions_A3: Tensor  # float64
    cell_S33: Tensor  # float64, rows are lattice vectors; zero rows where there is none
    volume_S: Tensor  # float64, |det cell| or NaN
    center_E: Tensor  # int64, ascending
    neighbor_E: Tensor  # int64
    shift_E3: Tensor  # int16, lattice shift of the neighbor
    energy_S: Tensor | None = None  # total energy
    forces_A3: Tensor | None = None
    stress_S6: Tensor | None = None  # eV/A^3, Voigt, positive under tension

    @property
    def n_structures(self) -> int:
        return self.cell_S33.shape[0]

    @property
    def n_atoms(self) -> int:
        return self.numbers_A.shape[0]

    @property
    def atoms_S(self) -> Tensor:
        """Number of atoms of each structure."""
        return torch.bincount(self.structure_A, minlength=self.n_structures)

    def edge_vectors(self) -> Tensor:
        """r_E3 = positions[neighbor] + shift @ cell - positions[center]."""
        cell_E33 = self.cell_S33[self.structure_A[self.center_E]]
        shift_E3 = self.shift_E3.to(self.cell_S33.dtype)
        offset_E3 = torch.einsum("ei,eij->ej", shift_E3, cell_E33)
        return self.positions_A3[self.neighbor_E] + offset_E3 - self.positions_A3[self.center_E]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if v is not None})


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a batch: eV, eV/A, eV/A^3 (NaN where a stress is not defined)."""

    energy_S: Tensor
    energies_A: Tensor
    forces_A3: Tensor
    stress_S6: Tensor
