"""The potential: E = sum_i V(n_i), V = E0[z_i] + sum_b xi_b B_b(n_i), or V = E0[z_i] + NN(B(n_i)).

Shapeev 2016, eqs. 2.1-2.4. f_mu stands in `radial`, M[mu, nu] and B_b in `moments`; this file holds
the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..batch import Batch, Prediction
from .engine import Engine, default_engine
from .levels import Basis
from .moments import program
from .radial import core_repulsion, radial_basis, radial_functions


@dataclass(frozen=True)
class RadialShape:
    """Range and size of the radial functions. Lengths in A."""

    cutoff: float
    min_dist: float
    n_q: int
    scaling: float = 1.0
    repulsion: bool = False  # MLIP's RBChebyshev_repuls below min_dist

    def __post_init__(self) -> None:
        if not 0 < self.min_dist < self.cutoff:
            raise ValueError(
                f"min_dist must lie between 0 and the cutoff, found {self.min_dist} and "
                f"{self.cutoff} A"
            )
        if self.n_q < 1:
            raise ValueError(f"n_q must be at least 1, found {self.n_q}")


class LinearReadout(nn.Module):
    """V - E0 = sum_b xi_b B_b; `moment_coeffs` are xi, as a .mtp file holds them."""

    def __init__(self, n_basis: int) -> None:
        super().__init__()
        self.moment_coeffs = nn.Parameter(torch.zeros(n_basis, dtype=torch.float64))

    def forward(self, basis_AB: Tensor) -> Tensor:
        return basis_AB @ self.moment_coeffs

    def on_raw_basis(self) -> tuple[Tensor, list[tuple[Tensor, Tensor | None]]]:
        """xi (B), and the layers of the network (none): what an engine needs to know."""
        return self.moment_coeffs, []


class NeuralReadout(nn.Module):
    """V - E0 = sum_b xi_b B_b + NN(B): hidden layers of `widths` neurons with SiLU, whose
    derivatives are smooth, and one neuron without bias at the end.
    """

    def __init__(self, n_basis: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [n_basis, *widths]
        self.moment_coeffs = nn.Parameter(torch.zeros(n_basis, dtype=torch.float64))
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out, dtype=torch.float64) for n_in, n_out in pairwise(sizes)
        )
        self.layers.append(nn.Linear(sizes[-1], 1, bias=False, dtype=torch.float64))

    def forward(self, basis_AB: Tensor) -> Tensor:
        hidden_AH = basis_AB
        for layer in self.layers[:-1]:
            hidden_AH = nn.functional.silu(layer(hidden_AH))
        return basis_AB @ self.moment_coeffs + self.layers[-1](hidden_AH).squeeze(-1)

    def on_raw_basis(self) -> tuple[Tensor, list[tuple[Tensor, Tensor | None]]]:
        """xi (B) of the linear path, and (weight, bias) of every layer; the first acts on B, the
        last has no bias and gives V - E0.
        """
        return self.moment_coeffs, [(layer.weight, layer.bias) for layer in self.layers]


class MTP(nn.Module):
    """A moment tensor potential for given species.

    `species` are atomic numbers; their order is that of the rows of every coefficient. Parameters:
    `radial_coeffs` (C, C, R, Q), center species first; `species_coeffs` (C), E0 in eV; those of
    `readout`.
    """

    def __init__(
        self,
        species: Sequence[int],
        basis: Basis,
        radial: RadialShape,
        widths: Sequence[int] = (),
        engine: Engine = default_engine,
    ) -> None:
        super().__init__()
        self.species, self.basis, self.radial, self.widths = (
            tuple(species),
            basis,
            radial,
            tuple(widths),
        )
        self.engine = engine
        c = len(self.species)
        self.radial_coeffs = nn.Parameter(
            torch.zeros(c, c, basis.n_radial, radial.n_q, dtype=torch.float64)
        )
        self.species_coeffs = nn.Parameter(torch.zeros(c, dtype=torch.float64))
        n_basis = len(basis.scalars)
        self.readout = (
            NeuralReadout(n_basis, self.widths) if self.widths else LinearReadout(n_basis)
        )
        index = torch.full((119,), -1, dtype=torch.int64)
        index[list(self.species)] = torch.arange(c)
        self.register_buffer("species_of_number", index, persistent=False)

    @property
    def cutoff(self) -> float:
        return self.radial.cutoff

    @property
    def dtype(self) -> torch.dtype:
        return self.species_coeffs.dtype

    def shape(self) -> dict:
        """What makes the same potential, beside the parameters: plain numbers and lists."""
        return {
            "species": list(self.species),
            "radial": asdict(self.radial),
            "widths": list(self.widths),
            "basis": {
                k: [list(row) if isinstance(row, tuple) else row for row in v]
                for k, v in asdict(self.basis).items()
            },
        }

    @classmethod
    def of_shape(cls, shape: dict) -> MTP:
        """The potential of a `shape()`, its parameters zero."""
        basis = {
            k: tuple(tuple(row) if isinstance(row, list) else row for row in v)
            for k, v in shape["basis"].items()
        }
        return cls(
            shape["species"], Basis(**basis), RadialShape(**shape["radial"]), shape["widths"]
        )

    def forward(self, batch: Batch, training: bool = False) -> Prediction:
        """Energies, forces and stress of a batch; with `training`, differentiable in the
        parameters.
        """
        return self.engine(self, batch, training)

    def species_A(self, batch: Batch) -> Tensor:
        """Species index of every atom. Raises ValueError for an element without parameters; on a
        GPU, which is not waited for, a later call fails by a device-side assertion.
        """
        species_A = self.species_of_number[batch.numbers_A]
        if species_A.is_cuda:
            torch._assert_async((species_A >= 0).all())
        elif species_A.numel() and int(species_A.min()) < 0:
            missing = sorted(set(batch.numbers_A[species_A < 0].tolist()))
            raise ValueError(
                f"atomic numbers {missing} are not among the potential's species "
                f"{list(self.species)}"
            )
        return species_A

    def site_basis(self, batch: Batch, r_E3: Tensor) -> Tensor:
        """Basis functions B_b of every atom: (A, B)."""
        species_A = self.species_A(batch)
        return self.neighborhood_basis(
            r_E3,
            batch.center_E,
            species_A[batch.center_E],
            species_A[batch.neighbor_E],
            batch.n_atoms,
        )

    def neighborhood_basis(
        self,
        r_E3: Tensor,
        center_E: Tensor,
        species_E: Tensor,
        neighbor_species_E: Tensor,
        n_atoms: int,
    ) -> Tensor:
        """Basis functions of centers; of every edge both species are given: (A, B)."""
        r_E = r_E3.norm(dim=-1)
        shape = self.radial
        inner_E = r_E.clamp(min=shape.min_dist) if shape.repulsion else r_E
        basis_EQ = radial_basis(inner_E, shape.min_dist, shape.cutoff, shape.n_q, shape.scaling)
        f_ER = radial_functions(basis_EQ, self.radial_coeffs, species_E, neighbor_species_E)
        tensors = program(self.basis, r_E3.device)
        return tensors.contract(tensors.moments(f_ER, r_E3 / r_E[:, None], center_E, n_atoms))

    def site_energies(self, batch: Batch, r_E3: Tensor) -> Tensor:
        """V(n_i) of every atom, eV: (A)."""
        energies_A = self.species_coeffs[self.species_A(batch)] + self.readout(
            self.site_basis(batch, r_E3)
        )
        if self.radial.repulsion:
            energies_A = energies_A + self.site_repulsion(batch, r_E3)
        return energies_A

    def site_repulsion(self, batch: Batch, r_E3: Tensor) -> Tensor:
        """Repulsion of the cores at every atom, eV: (A); zero where the potential has none."""
        wall_A = r_E3.new_zeros(batch.n_atoms)
        if not self.radial.repulsion:
            return wall_A
        wall_E = core_repulsion(r_E3.norm(dim=-1), self.radial.min_dist)
        return wall_A.index_add(0, batch.center_E, wall_E)
