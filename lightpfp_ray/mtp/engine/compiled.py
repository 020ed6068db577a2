"""The compiled engine: what `torch_engine` computes, by the C++ of `native/`.

A loss reaches the parameters through one call, whatever function of the prediction it is: backward
receives a = dL/dE, v = dL/dF and t = dL/dstress, and with these directions held fixed

    dL/dtheta = d/dtheta [ sum a E + D E . rdot ],     rdot_ij = v_i - v_j + (t / volume) r_ij

because F = -dE/dr and stress = (1 / volume) dE/d(strain): one tangent, one reverse sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ...batch import Batch, Prediction

if TYPE_CHECKING:
    from ..levels import Basis
    from ..model import MTP

DTYPES = (torch.float64, torch.float32)


@cache
def native() -> Any | None:
    """The compiled module, or None where it was not built or does not run on this processor."""
    try:
        from . import _native
    except ImportError:
        return None
    return _native if _native.instruction_sets() else None


def instruction_set() -> str:
    """The best one that this processor runs."""
    return native().instruction_sets()[-1]


def evaluate(model: MTP, batch: Batch, training: bool) -> Prediction:
    """Energies (eV), forces (eV/A) and stress (eV/A^3) of every structure of the batch.

    Raises ValueError for an array of the wrong kind or shape, an index out of its range, an element
    without parameters, or a position that is not finite.
    """
    call = _Call.of(model, batch)
    parameters = parameters_of(model)
    if training:
        return Prediction(*_Evaluation.apply(call, *parameters))
    return Prediction(*call.evaluate(parameters))


def basis_rows(model: MTP, batch: Batch) -> Tensor:
    """Energy per atom, forces and stress of every basis function: (S + 3 A + 6 S, B), float64."""
    rows = _Call.of(model, batch).design([p.double() for p in parameters_of(model)[:3]])
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in rows])


def basis_functions(model: MTP, batch: Batch) -> Tensor:
    """B_b of every atom: (A, B), float64."""
    return _Call.of(model, batch).basis([p.double() for p in parameters_of(model)[:3]])


def virials(model: MTP, batch: Batch) -> Tensor:
    """sum_j r_ij (x) g_ij of every atom, eV: (A, 6), Voigt, float64."""
    virials_A6 = np.empty((batch.n_atoms, 6))
    _Call.of(model, batch).evaluate(parameters_of(model), virials_A6)
    return torch.from_numpy(virials_A6)


def parameters_of(model: MTP) -> list[Tensor]:
    """Radial coefficients, E0, xi, then weight and bias of each layer, then the last weights (H).

    All act on the basis functions as the moments give them; differentiable in the model's own.
    """
    linear_B, layers = model.readout.on_raw_basis()
    found = [model.radial_coeffs, model.species_coeffs, linear_B]
    for weight, bias in layers[:-1]:
        found += [weight, bias]
    return found + [weight.reshape(-1) for weight, _ in layers[-1:]]


@dataclass(frozen=True)
class _Call:
    """A program and a batch, as the compiled module takes them."""

    program: Any
    radial: Any
    batch: Any
    n_structures: int
    n_atoms: int

    @classmethod
    def of(cls, model: MTP, batch: Batch) -> _Call:
        shape = model.radial
        return cls(
            program_of(model),
            native().Radial(shape.cutoff, shape.min_dist, shape.scaling, shape.repulsion),
            native().BatchArrays(
                model.species_of_number.numpy(),
                batch.numbers_A.numpy(),
                batch.structure_A.numpy(),
                batch.positions_A3.numpy(),
                batch.cell_S33.numpy(),
                batch.volume_S.numpy(),
                batch.first_edge_A.numpy(),
                batch.n_edges_A.numpy(),
                batch.neighbors_N.numpy(),
                batch.shifts_N3.numpy(),
            ),
            batch.n_structures,
            batch.n_atoms,
        )

    def evaluate(self, parameters: Sequence[Tensor], *virials_A6: np.ndarray) -> tuple[Tensor, ...]:
        given = _arrays(*parameters)
        outputs = (
            np.empty(self.n_structures),
            np.empty(self.n_atoms, given[0].dtype),
            np.empty((self.n_atoms, 3), given[0].dtype),
            np.empty((self.n_structures, 6)),
        )
        wanted = (*outputs, *virials_A6)
        self.program.evaluate(self.radial, given, self.batch, wanted, torch.get_num_threads())
        return tuple(map(torch.from_numpy, outputs))

    def gradient(self, parameters: Sequence[Tensor], adjoints: Sequence[Tensor]) -> list[Tensor]:
        given = _arrays(*parameters)
        ends = list(accumulate(each.size for each in given))
        flat = np.zeros(ends[-1])
        found = [
            flat[end - like.size : end].reshape(like.shape)
            for end, like in zip(ends, given, strict=True)
        ]
        sums = (*found[:2], flat[ends[1] :])
        threads = torch.get_num_threads()
        self.program.gradient(self.radial, given, self.batch, _arrays(*adjoints), sums, threads)
        dtype = given[0].dtype
        return [torch.from_numpy(sum_.astype(dtype, copy=False)) for sum_ in found]

    def design(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        n_basis = len(parameters[2])
        rows = (
            np.empty((self.n_structures, n_basis)),
            np.empty((self.n_atoms, 3, n_basis)),
            np.empty((self.n_structures, 6, n_basis)),
        )
        given = _arrays(*parameters)
        self.program.design(self.radial, given, self.batch, rows, torch.get_num_threads())
        return [torch.from_numpy(part) for part in rows]

    def basis(self, parameters: Sequence[Tensor]) -> Tensor:
        basis_AB = np.empty((self.n_atoms, len(parameters[2])))
        given = _arrays(*parameters)
        self.program.basis(self.radial, given, self.batch, basis_AB, torch.get_num_threads())
        return torch.from_numpy(basis_AB)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The same memory as numpy's, which the compiled module takes over faster than torch's; of a
    tensor without gradient, as those of a batch are, `numpy()` alone is faster still.
    """
    return [t.detach().numpy() for t in tensors]


class _Evaluation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.save_for_backward(*parameters)
        return call.evaluate(parameters)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.call.gradient(ctx.saved_tensors, adjoints)


_programs: WeakKeyDictionary[MTP, Any] = WeakKeyDictionary()
"""Made once for each potential: a basis of level 24 has tens of thousands of numbers."""


def program_of(model: MTP) -> Any:
    """The compiled program of a potential's basis."""
    if model not in _programs:
        _programs[model] = new_program(model.basis, instruction_set())
    return _programs[model]


def new_program(basis: Basis, instruction_set: str) -> Any:
    """Raises ValueError for a program that uses what it never computes."""
    rows = [
        np.array(part, dtype=np.int32).reshape(-1, 4) for part in (basis.components, basis.products)
    ]
    scalars = np.array(basis.scalars, dtype=np.int32)
    return native().Program(*rows, scalars, instruction_set)
