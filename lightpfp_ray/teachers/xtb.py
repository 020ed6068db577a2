"""GFN1-xTB and GFN2-xTB, semi-empirical tight binding with dispersion, by tblite (Bannwarth et al.,
J. Chem. Theory Comput. 2019, 15, 1652).

Made for molecules and molecular crystals, neutral and with as few unpaired electrons as there can
be. A periodic cell is computed at its Gamma point alone: it must be large, 10 A or more, above all
for a metal. The energy is the free energy at an electronic temperature of 300 K, of which forces
and stress are derivatives.
"""

from __future__ import annotations

import os

import numpy as np
from ase import Atoms

from ..data.structure import Structure
from .teacher import Labels, Teacher, elements_but, missing_package, package_version

LARGEST = 86
"""Atomic number of radon, the last element with parameters."""

LICENCE = "LGPL-3.0-or-later (program)"


def teacher(method: str) -> Teacher:
    """Raises UserError where tblite is not installed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when the library is loaded
    try:
        from tblite.ase import TBLite
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "tblite") from None

    def compute(structure: Structure) -> Labels:
        # a new one each time: it would begin with the charges of the structure before
        calculator = TBLite(method=method, verbosity=0)
        atoms = Atoms(
            structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc
        )
        atoms.calc = calculator
        return Labels(
            energy=atoms.get_potential_energy(),
            forces=np.array(atoms.get_forces()),
            stress=np.array(atoms.get_stress()) if atoms.pbc.all() else None,
        )

    return Teacher(
        name=method,
        version=f"({package_version('tblite')})",
        licence=LICENCE,
        elements=elements_but(LARGEST),
        gives_stress=True,
        compute=compute,
    )
