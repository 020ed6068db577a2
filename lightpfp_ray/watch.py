"""Molecular dynamics that knows where it may not be trusted: frames beyond a grade are saved, and
far beyond one the run stops.

    watch = GradeWatch(atoms, file="label_these.extxyz")
    dynamics.attach(watch, interval=10)
"""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.io import write

from .errors import UserError
from .grade import DANGEROUS, WORTH_A_LABEL


class Extrapolation(UserError):
    """The run left what the potential was trained on."""


class GradeWatch:
    """For `dynamics.attach`: grades the atoms whenever it is called.

    A frame with a grade above `save_above` is appended to `file` (extxyz, with its grades), and one
    above `stop_above` raises Extrapolation after it was saved. None switches either off.
    """

    def __init__(
        self,
        atoms: Atoms,
        file: str | Path | None = None,
        save_above: float | None = WORTH_A_LABEL,
        stop_above: float | None = DANGEROUS,
    ) -> None:
        if "grade" not in getattr(atoms.calc, "implemented_properties", ()):
            raise UserError(
                "the potential has no active set, so that it has no grade: compute it with "
                "`lightpfp-ray grade POTENTIAL --training-data FILES`"
            )
        self.atoms, self.file = atoms, file
        self.save_above, self.stop_above = save_above, stop_above
        self.largest = 0.0
        self.saved = 0

    def __call__(self) -> None:
        grade = self.atoms.calc.get_property("grade", self.atoms)
        self.largest = max(self.largest, grade)
        stops = self.stop_above is not None and grade > self.stop_above
        worth = self.save_above is not None and grade > self.save_above
        if self.file is not None and (stops or worth):
            self._save(grade)
        if stops:
            grades = self.atoms.calc.get_property("grades", self.atoms)
            raise Extrapolation(
                f"grade {grade:.3g} of atom {grades.argmax()} is above {self.stop_above:g}: label "
                f"{'this frame' if self.file is None else f'the frames in {self.file}'}, and train "
                "with them"
            )

    def _save(self, grade: float) -> None:
        frame = self.atoms.copy()  # without the calculator: its labels are not to be trained on
        frame.info["grade"] = grade
        frame.arrays["grades"] = self.atoms.calc.get_property("grades", self.atoms)
        write(self.file, frame, format="extxyz", append=True)
        self.saved += 1
