"""The potential as an ASE calculator: energy (eV), forces (eV/A), stress (eV/A^3, Voigt, positive
under tension).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from .data.collate import batch_from_structures
from .data.structure import Structure
from .mtp.model import MTP


class MTPCalculator(Calculator):
    """Evaluates an MTP; stress only for structures periodic along three vectors."""

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(self, model: MTP, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        structure = Structure(
            numbers=self.atoms.numbers,
            positions=self.atoms.positions,
            cell=np.asarray(self.atoms.cell),
            pbc=self.atoms.pbc,
        )
        prediction = self.model(batch_from_structures([structure], self.model.cutoff))
        energy = float(prediction.energy_S[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": prediction.energies_A.double().numpy(),
            "forces": prediction.forces_A3.double().numpy(),
        }
        if self.atoms.pbc.all():
            self.results["stress"] = prediction.stress_S6[0].double().numpy()
        elif "stress" in (properties or ()):
            raise PropertyNotImplementedError(
                f"stress needs a cell periodic along three vectors, pbc is {self.atoms.pbc}"
            )
