"""The potential as an ASE calculator: energy (eV), forces (eV/A), stress (eV/A^3, Voigt, positive
under tension), and how far it extrapolates.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from .batch import Batch
from .data.skin import MovingStructure
from .data.structure import Structure
from .mtp.model import MTP
from .mtp.sites import virials

if TYPE_CHECKING:
    from .grade import ActiveSet

SKIN = 1.0
"""A; how far beyond the cutoff edges are searched: a search costs as much as ten evaluations."""


class MTPCalculator(Calculator):
    """Evaluates an MTP.

    energy, free_energy (the same), energies, forces, and stress for structures periodic along three
    vectors. On demand: `stresses` (virial of each atom by the volume of the cell;
    they add up to the stress), and with an active set `grades` (extrapolation grade of each atom)
    and `grade` (the largest of them). Warns once where two atoms are closer than `min_dist`, which
    a training sets 1 % below the shortest distance it saw.

    A calculator serves one thread; calculators of several threads may share a model.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "stresses",
    ]

    def __init__(
        self, model: MTP, active_set: ActiveSet | None = None, skin: float = SKIN, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model, self.active_set, self.skin = model, active_set, skin
        self.warned = False
        self._moving = self._new_moving()
        if active_set is not None:
            self.implemented_properties = [*self.implemented_properties, "grade", "grades"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self._refuse_undefined(properties)
        structure = Structure(
            numbers=self.atoms.numbers,
            positions=self.atoms.positions,
            cell=self.atoms.cell.array,
            pbc=self.atoms.pbc,
        )
        batch = self._moving.batch(structure)
        if system_changes or "energy" not in self.results:
            self.results = self._evaluated(batch)
            self._warn_of_short_distances(structure)
        if "stresses" in properties:
            virials_A6 = virials(self.model, batch).double()
            self.results["stresses"] = virials_A6.numpy() / self.atoms.get_volume()
        if {"grade", "grades"} & set(properties):
            grades_A = self.active_set.grades(self.model, batch)
            self.results |= {"grades": grades_A, "grade": float(grades_A.max(initial=0.0))}

    def _evaluated(self, batch: Batch) -> dict[str, Any]:
        prediction = self.model(batch)
        energy = float(prediction.energy_S[0])
        found = {
            "energy": energy,
            "free_energy": energy,
            "energies": prediction.energies_A.double().numpy(),
            "forces": prediction.forces_A3.double().numpy(),
        }
        if self.atoms.pbc.all():
            found["stress"] = prediction.stress_S6[0].double().numpy()
        return found

    def _refuse_undefined(self, properties: Any) -> None:
        if {"stress", "stresses"} & set(properties) and not self.atoms.pbc.all():
            raise PropertyNotImplementedError(
                f"stress needs a cell periodic along three vectors, pbc is {self.atoms.pbc}"
            )

    def _warn_of_short_distances(self, structure: Structure) -> None:
        shortest = None if self.warned else self._moving.shortest_below(structure)
        if shortest is None:
            return
        self.warned = True
        warnings.warn(
            f"two atoms are {shortest:.3f} A apart, closer than any in the training (min_dist "
            f"{self.model.radial.min_dist:.3f} A): forces there are extrapolated",
            stacklevel=3,
        )

    def _new_moving(self) -> MovingStructure:
        return MovingStructure(self.model.cutoff, self.skin, self.model.radial.min_dist)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles search their edges anew."""
        return {**vars(self), "_moving": self._new_moving()}
