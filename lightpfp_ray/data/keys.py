"""Which entry of a file is which label: known names, or those that a user gives.

Two known names for one label, with other values, are refused: `energy` and `REF_energy` in one
file are often two methods, and a guess would train on the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from ..errors import UserError
from ..units import voigt_from_matrix

_BEFORE = ("", "ref_", "dft_", "ref", "dft")


def _names(*names: str) -> frozenset[str]:
    return frozenset(before + name for before in _BEFORE for name in names)


KNOWN = {
    "energy": _names("energy", "free_energy", "total_energy", "potential_energy"),
    "forces": _names("forces", "force"),
    "stress": _names("stress"),
    "virial": _names("virial", "virials"),
}
"""Label -> names that are taken for it, in lower case."""

FALLBACKS = {"free_energy", "ref_free_energy", "dft_free_energy"}
"""Written beside an energy by many codes; taken where there is no other."""

WEIGHTS, GROUPS = ("weight", "config_weight"), ("config_type", "group")
"""In order of preference; they change no label."""

TEACHER = "teacher"
"""Entry that names the potential that gave the labels."""


class Refused(ValueError):
    """A structure that cannot be read as it stands: what was found, and what to do."""

    number: int | None = None  # of the structure in its file, where it is known


@dataclass(frozen=True)
class Keys:
    """Names of entries that a user gives; None: the known names.

    `virial` is -stress * volume in eV, as QUIP, MACE and MLIP write it. `species` are the elements
    of a file that numbers them from 0, as "In,P".
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None
    weight: str | None = None
    group: str | None = None
    species: str | None = None

    @classmethod
    def of(cls, settings: Iterable[str]) -> Keys:
        """Of "energy=REF_energy" and the like. Raises UserError for one that is no setting."""
        known = [field.name for field in fields(cls)]
        found: dict[str, str] = {}
        for setting in settings:
            label, equals, name = setting.partition("=")
            if not (equals and name and label in known):
                raise UserError(
                    f"--key {setting}: expected LABEL=NAME with one of {', '.join(known)}, as "
                    "--key energy=REF_energy"
                )
            if found.setdefault(label, name) != name:
                raise UserError(f"--key {label} is given twice ({found[label]}, {name}): give one")
        return cls(**found)


KNOWN_NAMES = Keys()
"""No name is given: the known ones are taken."""


def chosen(label: str, found: Mapping[str, object], keys: Keys) -> str | None:
    """The name in `found` of a label, or None. Raises Refused where two names compete."""
    named = getattr(keys, label)
    if named:
        return named if named in found else None
    names = _candidates(label, tuple(found))
    if len(names) > 1 and not all(_equal(found[names[0]], found[name]) for name in names[1:]):
        options = " or ".join(f"--key {label}={name}" for name in names)
        raise Refused(
            f"{' and '.join(names)} found with different values, one {label} expected: say which "
            f"with {options}"
        )
    return names[0] if names else None


@lru_cache(1024)
def _candidates(label: str, names: tuple[str, ...]) -> tuple[str, ...]:
    known = [name for name in names if name.lower() in KNOWN[label]]
    return tuple(name for name in known if name.lower() not in FALLBACKS) or tuple(known)


def _equal(first: object, second: object) -> bool:
    return np.array_equal(numbers_of(first), numbers_of(second))


def numbers_of(value: object) -> np.ndarray:
    """Numbers of a text as extended XYZ writes them, or of an array: flat, float64."""
    if isinstance(value, str):
        return np.array([float(word) for word in value.replace(",", " ").split()])
    return np.asarray(value, float).reshape(-1)


def energy_of(found: Mapping[str, object], keys: Keys) -> float | None:
    """The energy in eV among the entries of a structure."""
    name = chosen("energy", found, keys)
    if name is None:
        return None
    values = numbers_of(found[name])
    if values.shape != (1,):
        raise Refused(f"{name} holds {values.size} numbers, one expected: correct the file")
    return float(values[0])


def stress_of(found: Mapping[str, object], cell: np.ndarray, keys: Keys) -> np.ndarray | None:
    """The stress (6,) in eV/A^3 among the entries of a structure: of a stress, or of a virial."""
    name = chosen("stress", found, keys) if keys.stress or not keys.virial else None
    other = chosen("virial", found, keys) if keys.virial or not keys.stress else None
    stress = None if name is None else _tensor(name, found[name])
    if other is None:
        return stress
    volume = abs(np.linalg.det(cell))
    of_virial = -_tensor(other, found[other]) / (volume or np.nan)
    if stress is None:
        return of_virial
    if not np.allclose(stress, of_virial, rtol=1e-3, atol=1e-3 * np.abs(of_virial).max()):
        raise Refused(
            f"{name} and {other} found, and {other} is not -stress * volume: say which with "
            f"--key stress={name} or --key virial={other}"
        )
    return stress


def weight_of(found: Mapping[str, object], keys: Keys) -> float:
    name = _preferred(found, keys.weight, WEIGHTS)
    return 1.0 if name is None else float(numbers_of(found[name])[0])


def group_of(found: Mapping[str, object], keys: Keys) -> str:
    name = _preferred(found, keys.group, GROUPS)
    return "" if name is None else str(found[name])


def teacher_of(found: Mapping[str, object]) -> str:
    return str(found.get(TEACHER, ""))


def _preferred(found: Mapping[str, object], named: str | None, known: tuple[str, ...]):
    return next((name for name in ((named,) if named else known) if name in found), None)


def _tensor(name: str, value: object) -> np.ndarray:
    """Six Voigt components of six or nine numbers."""
    values = numbers_of(value)
    if values.size == 6:
        return values
    if values.size != 9:
        raise Refused(f"{name} holds {values.size} numbers, 6 or 9 expected: correct the file")
    return voigt_from_matrix(values.reshape(3, 3))
