"""GFN1-xTB and GFN2-xTB, semi-empirical tight binding with dispersion, by tblite (Bannwarth et al.,
J. Chem. Theory Comput. 2019, 15, 1652).

Made for molecules and molecular crystals, neutral and with as few unpaired electrons as there can
be. A periodic cell is computed at its Gamma point alone, and must be large enough for that: CO2 in
a cubic cell of 5.7 A has the energy of one of 11.4 A to 0.4 meV/atom, but Si in a cell of 5.4 A is
off by 0.5 to 1 eV/atom, and wants 11 A and more. The energy is the free energy at an electronic
temperature of 300 K, of which forces and stress are derivatives.
"""

from __future__ import annotations

import os

import numpy as np
from ase import Atoms

from ..data.structure import Structure
from .teacher import Labels, NotLabelled, Teacher, elements_but, missing_package, package_version

LARGEST = 86
"""Atomic number of radon, the last element with parameters."""

THINNEST = 5.0
"""A; a periodic cell of a smaller height is refused."""

LICENCE = "LGPL-3.0-or-later (program)"


def teacher(method: str) -> Teacher:
    """Raises UserError where tblite is not installed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when the library is loaded
    try:
        from tblite.ase import TBLite
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "tblite") from None

    def compute(structure: Structure) -> Labels:
        _refuse(structure)
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


def _refuse(structure: Structure) -> None:
    """Raises NotLabelled for what tblite would compute, but as something else."""
    if not structure.pbc.any():
        return
    if not structure.pbc.all():
        raise NotLabelled("periodic along some directions, tblite knows three or none")
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
    if heights.min() < THINNEST:
        raise NotLabelled(f"cell thinner than {THINNEST:g} A, too small for the Gamma point alone")
