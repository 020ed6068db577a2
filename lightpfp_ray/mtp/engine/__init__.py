"""Engines compute one thing: a batch in, energies, forces and stress out, differentiable in the
parameters.

An engine is a function `evaluate(model, batch, training) -> Prediction`. With `training`,
`loss.backward()` of any function of the prediction reaches every parameter of the model.
`torch_engine` is the reference and the way to a GPU; a compiled engine takes its place by the same
signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .normal import NormalEquations, normal_equations

if TYPE_CHECKING:
    from ...batch import Batch, Prediction
    from ..model import MTP


__all__ = ["Engine", "NormalEquations", "normal_equations"]


class Engine(Protocol):
    """Evaluates a potential on a batch."""

    def __call__(self, model: MTP, batch: Batch, training: bool) -> Prediction: ...
