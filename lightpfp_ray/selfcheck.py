"""The end of a training: whatever a user will take in hand gives what the training gave.

Held-out structures go through the potential's folder, the calculator and the exported file; the
errors that the training loop wrote down are found again. A difference beyond rounding raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms

from .batch import Batch, Prediction
from .evaluation import Blocks, evaluate
from .mlip_format import read_mtp, write_mtp
from .mtp.model import MTP
from .potential import Potential, load
from .training.context import Structures

if TYPE_CHECKING:
    from .calculator import MTPCalculator

EXPORTED = "potential.mtp"
"""File in the potential's folder, for linear readouts."""

SAMPLE = 16
"""Structures that go through the calculator and the exported file."""

TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-3}
"""eV/atom, and eV/A in units of the largest force where that is above 1 eV/A. Sums in another order
differ by the rounding of terms that are up to 1e6 times their sum.
"""

Differences = dict[str, dict[str, float]]
"""Name of the way -> largest difference of "energy" in eV/atom and of "forces" in eV/A."""


class SelfCheckError(RuntimeError):
    """Two ways to the same energies do not agree: an error of the program, not of the user."""


def self_check(
    folder: Path, held_out: Structures, loop_errors: Mapping[str, float | None]
) -> Differences:
    """Largest differences between the ways to the potential in `folder`, by name.

    `loop_errors` are the loop's own figures over all of `held_out` (the journal's "end" record).
    Writes EXPORTED into the folder where the readout is linear. Raises SelfCheckError for a
    difference beyond rounding; empty where nothing is held out.
    """
    potential = load(folder)
    if not len(held_out):
        return {}
    chosen = np.unique(np.linspace(0, len(held_out) - 1, SAMPLE).astype(int))
    batches = [held_out.batch(chosen[[n]]) for n in range(min(len(chosen), len(held_out)))]
    expected = [potential.model(batch) for batch in batches]
    found = {
        "training loop": _of_errors(potential.model, held_out, loop_errors),
        "calculator": _largest(_by_calculator(potential.calculator(), batches), expected, batches),
    }
    if not potential.model.widths:
        write_mtp(folder / EXPORTED, potential.model)
        exported = read_mtp(folder / EXPORTED)
        found["exported file"] = _largest(map(exported, batches), expected, batches)
    _refuse(potential, found, max(float(p.forces_A3.abs().max()) for p in expected))
    return found


def _of_errors(
    model: MTP, held_out: Structures, loop_errors: Mapping[str, float | None]
) -> dict[str, float]:
    """Differences of the root mean square errors, found again over all structures."""
    errors = evaluate(model, Blocks(held_out))
    return {
        label: abs(errors[f"{label}_rmse"] - loop_errors[f"{label}_rmse"])
        for label in ("energy", "forces")
        if errors[f"{label}_rmse"] is not None
    }


def _by_calculator(calculator: MTPCalculator, batches: Iterable[Batch]) -> Iterable[Prediction]:
    for batch in batches:
        calculator.calculate(atoms_of(batch))
        got = calculator.results
        yield Prediction(
            energy_S=torch.tensor([got["energy"]], dtype=torch.float64),
            energies_A=torch.from_numpy(got["energies"]),
            forces_A3=torch.from_numpy(got["forces"]),
            stress_S6=torch.full((1, 6), torch.nan, dtype=torch.float64),
        )


def atoms_of(batch: Batch) -> Atoms:
    """A batch of one structure as ASE's atoms, periodic along the vectors that its edges cross: the
    edges are the same whether or not the others are called periodic.
    """
    crossed = (batch.shift_E3 != 0).any(0).numpy()
    return Atoms(
        numbers=batch.numbers_A.numpy(),
        positions=batch.positions_A3.numpy(),
        cell=batch.cell_S33[0].numpy(),
        pbc=crossed,
    )


def _largest(
    found: Iterable[Prediction], expected: Iterable[Prediction], batches: Iterable[Batch]
) -> dict[str, float]:
    energy = forces = 0.0
    for a, b, batch in zip(found, expected, batches, strict=True):
        energy = max(energy, abs(float(a.energy_S - b.energy_S)) / batch.n_atoms)
        forces = max(forces, float((a.forces_A3.double() - b.forces_A3.double()).abs().max()))
    return {"energy": energy, "forces": forces}


def _refuse(potential: Potential, found: Differences, largest_force: float) -> None:
    tolerance = TOLERANCE[potential.model.dtype]
    allowed = {"energy": tolerance, "forces": tolerance * max(1.0, largest_force)}
    for name, differences in found.items():
        for label, difference in differences.items():
            if not difference <= allowed[label]:
                raise SelfCheckError(
                    f"self-check: {label} of the {name} differ from the saved potential by "
                    f"{difference:.3g}, expected at most {allowed[label]:.3g}: please report this"
                )
