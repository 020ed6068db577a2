"""A teacher of the user's own: a callable of a module gives an ASE calculator.

One calculator computes all structures of a worker: it must not begin one with what it remembers of
another.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin

from ..data.structure import Structure
from ..errors import UserError
from .teacher import Labels, Teacher, elements_but, package_version


def teacher(module: str, name: str, folder: Path) -> Teacher:
    """Raises UserError where the module cannot be imported or gives no calculator."""
    where = f"--teacher {module}:{name}"
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(module)
        calculator = getattr(found, name)()
    except AttributeError as error:
        raise UserError(f"{where}: {error}; expected a callable without arguments") from error
    except Exception as error:  # code of the user
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise UserError(
            f"{where} cannot be loaded ({why}): expected a module of {folder} or an installed one, "
            "and a callable without arguments that gives an ASE calculator"
        ) from error
    if not isinstance(calculator, GetPropertiesMixin):
        raise UserError(
            f"{where} gives a {type(calculator).__name__}, expected an ASE calculator: return one"
        )
    gives_stress = "stress" in calculator.implemented_properties
    return Teacher(
        name=f"{module}:{name}",
        version=f"({_version(found)})",
        licence="not stated",
        elements=elements_but(118),  # it raises for those that it does not know
        gives_stress=gives_stress,
        compute=lambda structure: _labels(calculator, structure, gives_stress),
    )


def _labels(calculator, structure: Structure, gives_stress: bool) -> Labels:
    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.calc = calculator
    # with electrons at a temperature, forces are derivatives of the free energy
    consistent = "free_energy" in calculator.implemented_properties
    return Labels(
        energy=atoms.get_potential_energy(force_consistent=consistent),
        forces=np.array(atoms.get_forces(), np.float64),
        stress=np.array(atoms.get_stress()) if gives_stress and atoms.pbc.all() else None,
    )


def _version(module: ModuleType) -> str:
    """Of the distribution that holds the module, or the hash of its file."""
    package = module.__name__.partition(".")[0]
    holders = packages_distributions().get(package)
    if holders:
        return package_version(holders[0])
    content = Path(module.__file__).read_bytes() if module.__file__ else b""
    return f"sha256 {hashlib.sha256(content).hexdigest()[:12]}"
