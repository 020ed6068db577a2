"""Engines compute one thing: a batch in, energies, forces and stress out, differentiable in the
parameters.

An engine is a function `evaluate(model, batch, training) -> Prediction`. With `training`,
`loss.backward()` of any function of the prediction reaches every parameter of the model.
`torch_engine` is the reference and the way to a GPU; `compiled` is the same in C++, for CPUs.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from . import compiled, torch_engine
from .normal import NormalEquations, normal_equations

if TYPE_CHECKING:
    from ...batch import Batch, Prediction
    from ..model import MTP


__all__ = [
    "Engine",
    "NormalEquations",
    "default_engine",
    "description",
    "missing",
    "normal_equations",
]

MISSING = (
    f"The compiled engine is not built in {Path(__file__).parent}: plain torch takes 10 to 100 "
    "times longer on a CPU. To have it, install a C++17 compiler (g++ 12 or later), then "
    "lightpfp_ray again; a job whose working directory is a checkout runs that checkout."
)


class Engine(Protocol):
    """Evaluates a potential on a batch."""

    def __call__(self, model: MTP, batch: Batch, training: bool) -> Prediction: ...


def default_engine(model: MTP, batch: Batch, training: bool) -> Prediction:
    """The compiled engine for a batch on the CPU, where it is built; else plain torch."""
    if batch.positions_A3.device.type == "cpu" and model.dtype in compiled.DTYPES:
        if compiled.native():
            return compiled.evaluate(model, batch, training)
        _say_what_is_missing()
    return torch_engine.evaluate(model, batch, training)


def description() -> str:
    """Which engine runs on the CPU, and its instruction set."""
    if compiled.native():
        return f"compiled engine, {compiled.instruction_set()}"
    return "torch engine (the compiled one is not built)"


def missing() -> str | None:
    """What is to be said where the compiled engine is not built."""
    return None if compiled.native() else MISSING


@cache
def _say_what_is_missing() -> None:
    logging.getLogger(__name__).warning(MISSING)
