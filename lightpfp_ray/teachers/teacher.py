"""Teacher: a name, a version, and a way from a structure to its energy, forces and stress.

What cannot be labelled is a `Failure` with its reason, in the place of the structure: nothing is
lost, and nothing stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from ..data.filter import BAD_LABEL, CLOSEST, TOO_CLOSE, geometry_reason
from ..data.neighbors import edges
from ..data.structure import Structure
from ..errors import UserError

LONGEST_REASON = 200


class Labels(NamedTuple):
    """Of one structure."""

    energy: float  # eV, total; forces are its derivatives
    forces: np.ndarray  # (N, 3), eV/A
    stress: np.ndarray | None  # (6,) Voigt, eV/A^3, positive under tension


class NotLabelled(Exception):
    """Raised where a teacher has no answer for a structure: its text is the reason."""


@dataclass(frozen=True)
class Failure:
    """A structure that has no labels of the teacher."""

    source: str  # "file.extxyz#12"
    reason: str


@dataclass(frozen=True)
class Teacher:
    """One structure is computed at a time, on one thread: its labels depend on it alone."""

    name: str
    version: str
    licence: str
    elements: frozenset[str]  # symbols that it knows
    gives_stress: bool
    compute: Callable[[Structure], Labels]
    "May raise anything: the line of the exception is the reason of a failure."

    @property
    def title(self) -> str:
        """Name and version, as files carry it."""
        return f"{self.name} {self.version}".strip()

    def label(self, structures: Iterable[Structure]) -> list[Structure | Failure]:
        """Each structure with the labels of this teacher in place of its own, or why there are
        none, in the order given. A stress is there only where all three directions are periodic.
        """
        return [self._labelled(structure) for structure in structures]

    def _labelled(self, structure: Structure) -> Structure | Failure:
        reason = self._refusal(structure)
        if reason:
            return Failure(structure.source, reason)
        try:
            energy, forces, stress = self.compute(structure)
        except Exception as error:  # code of others: whatever it raises is about this structure
            return Failure(structure.source, _line(error))
        if not structure.pbc.all():
            stress = None
        labels = (energy, forces) if stress is None else (energy, forces, stress)
        if not all(np.isfinite(label).all() for label in labels):
            return Failure(structure.source, BAD_LABEL)
        return replace(
            structure, energy=float(energy), forces=forces, stress=stress, teacher=self.title
        )

    def _refusal(self, structure: Structure) -> str | None:
        """What is known to fail before it is tried."""
        reason = geometry_reason(structure)
        if reason:
            return reason
        symbols = {chemical_symbols[number] for number in structure.numbers.tolist()}
        unknown = sorted(symbols - self.elements)
        if unknown:
            return f"{self.name} does not know {', '.join(unknown)}"
        center, _, _ = edges(structure.positions, structure.cell, structure.pbc, CLOSEST)
        return TOO_CLOSE if len(center) else None


def elements_but(largest: int, missing: Sequence[str] = ()) -> frozenset[str]:
    """Symbols of the atomic numbers 1 to `largest`, without some."""
    return frozenset(chemical_symbols[1 : largest + 1]) - set(missing)


def missing_package(package: str) -> UserError:
    """What to tell where the package of a teacher is not installed."""
    return UserError(
        f"the teacher needs {package}, which is not installed: pip install 'lightpfp_ray[teacher]'"
    )


def package_version(package: str) -> str:
    return f"{package} {version(package)}"


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0].strip()
    if isinstance(error, NotLabelled):
        return first
    return f"{type(error).__name__}: {first}".removesuffix(": ")[:LONGEST_REASON]
