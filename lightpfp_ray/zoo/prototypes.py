"""Crystals of any elements: prototypes of many structure types, and a guess of how large their cell
is.

    contact:    the closest pair of atoms is r_i + r_j apart, r: covalent radii
    additive:   the volume is that of the elements by themselves
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.spacegroup import crystal

from ..data.neighbors import edge_lengths, edges

ROLES = ("H", "He", "Li")
"""Elements that stand for the first, second and third kind of atom of a prototype."""

VOLUMES = {
    "H": 6.0, "He": 15.0, "B": 7.3, "N": 10.0, "O": 10.0, "F": 11.0, "P": 17.0, "S": 20.0,
    "Cl": 22.0, "Mn": 12.2, "Ga": 19.6, "Se": 24.0, "Br": 27.0, "Te": 34.0, "I": 35.0, "Pm": 33.0,
    "Pa": 25.0, "U": 20.7, "Np": 19.2, "Pu": 20.0,
}  # fmt: skip
"""A^3 of an atom: elements whose lattice ASE does not make, gases as they are in compounds."""


@dataclass(frozen=True)
class Prototype:
    """A structure type: positions of each kind of atom in the cell of a space group."""

    sites: tuple[tuple[int, tuple[float, float, float]], ...]  # (kind, scaled position)
    group: int
    shape: tuple[float, float] = (1.0, 90.0)  # c/a, gamma
    angle: float = 90.0  # alpha and beta

    @property
    def kinds(self) -> int:
        return 1 + max(kind for kind, _ in self.sites)


DENSEST = 0.5

THIRD = (1 / 3, 2 / 3)
HEXAGONAL = 120.0


def _of(group: int, *sites: tuple, c: float = 1.0, gamma: float = 90.0) -> Prototype:
    return Prototype(tuple(sites), group, (c, gamma))


PROTOTYPES = {
    "A1": _of(225, (0, (0, 0, 0))),
    "A2": _of(229, (0, (0, 0, 0))),
    "A3": _of(194, (0, (*THIRD, 0.25)), c=1.633, gamma=HEXAGONAL),
    "A4": _of(227, (0, (0, 0, 0))),
    "A5": _of(141, (0, (0, 0, 0)), c=0.546),
    "A7": _of(166, (0, (0, 0, 0.23)), c=2.7, gamma=HEXAGONAL),
    "A9": _of(194, (0, (0, 0, 0.25)), (0, (*THIRD, 0.25)), c=2.7, gamma=HEXAGONAL),
    "A15": _of(223, (0, (0, 0, 0)), (0, (0.25, 0, 0.5))),
    "Ah": _of(221, (0, (0, 0, 0))),
    "B1": _of(225, (0, (0, 0, 0)), (1, (0.5, 0.5, 0.5))),
    "B2": _of(221, (0, (0, 0, 0)), (1, (0.5, 0.5, 0.5))),
    "B3": _of(216, (0, (0, 0, 0)), (1, (0.25, 0.25, 0.25))),
    "B4": _of(186, (0, (*THIRD, 0)), (1, (*THIRD, 0.375)), c=1.633, gamma=HEXAGONAL),
    "B8_1": _of(194, (0, (0, 0, 0)), (1, (*THIRD, 0.25)), c=1.4, gamma=HEXAGONAL),
    "L1_0": _of(123, (0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), c=1.414),
    "L1_2": _of(221, (0, (0, 0, 0)), (1, (0.5, 0.5, 0))),
    "D0_3": _of(225, (0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)), (1, (0.5, 0.5, 0.5))),
    "D0_9": _of(221, (0, (0, 0, 0)), (1, (0.5, 0, 0))),
    "D5_1": _of(167, (0, (0, 0, 0.352)), (1, (0.306, 0, 0.25)), c=2.73, gamma=HEXAGONAL),
    "C1": _of(225, (0, (0, 0, 0)), (1, (0.25, 0.25, 0.25))),
    "C3": _of(224, (0, (0.25, 0.25, 0.25)), (1, (0, 0, 0))),
    "C4": _of(136, (0, (0, 0, 0)), (1, (0.305, 0.305, 0)), c=0.65),
    "C6": _of(164, (0, (0, 0, 0)), (1, (*THIRD, 0.25)), c=1.6, gamma=HEXAGONAL),
    "C11_b": _of(139, (0, (0, 0, 0)), (1, (0, 0, 1 / 3)), c=2.45),
    "C15": _of(227, (0, (0, 0, 0)), (1, (0.625, 0.625, 0.625))),
    "C32": _of(191, (0, (0, 0, 0)), (1, (*THIRD, 0.5)), c=1.08, gamma=HEXAGONAL),
    "C1_b": _of(216, (0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)), (2, (0.5, 0.5, 0.5))),
    "E1_1": _of(122, (0, (0, 0, 0)), (1, (0, 0, 0.5)), (2, (0.25, 0.25, 0.125)), c=2.0),
    "E2_1": _of(221, (0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0.5, 0.5, 0))),
    "F5_1": _of(166, (0, (0, 0, 0)), (1, (0, 0, 0.5)), (2, (0, 0, 0.24)), c=4.9, gamma=HEXAGONAL),
    "H1_1": _of(227, (0, (0,) * 3), (1, (0.625,) * 3), (2, (0.387,) * 3)),
    "L2_1": _of(225, (0, (0.25, 0.25, 0.25)), (1, (0, 0, 0)), (2, (0.5, 0.5, 0.5))),
}
"""By Strukturbericht: A elements, B and L1 AB, C AB2, D0 AB3, D5 A2B3, and those of three kinds:
half-Heusler C1_b, chalcopyrite E1_1, perovskite E2_1, delafossite F5_1, spinel H1_1, Heusler L2_1.
"""

IONIC = {
    "B10": _of(129, (0, (0, 0.5, 0.237)), (1, (0, 0, 0)), c=1.26),
    "C5": _of(141, (0, (0, 0, 0)), (1, (0, 0, 0.208)), c=2.514),
    "C7": _of(194, (0, (*THIRD, 0.25)), (1, (*THIRD, 0.621)), c=3.9, gamma=HEXAGONAL),
    "C8": _of(
        154, (0, (0.47, 0, 2 / 3)), (1, (0.414, 0.267, 0.786)), c=1.1, gamma=HEXAGONAL
    ),
    "C9": _of(227, (0, (0, 0, 0)), (1, (0.125, 0.125, 0.125))),
    "C30": _of(92, (0, (0.3, 0.3, 0)), (1, (0.239, 0.104, 0.179)), c=1.39),
    "C33": _of(
        166, (0, (0, 0, 0.4)), (1, (0, 0, 0)), (1, (0, 0, 0.21)), c=6.95, gamma=HEXAGONAL
    ),
    "D0_5": _of(
        148, (0, (0, 0, 0.167)), (1, (0.333, 0, 0.08)), c=2.76, gamma=HEXAGONAL
    ),
    "D1_b": _of(139, (0, (0, 0, 0)), (1, (0, 0.5, 0)), (1, (0, 0, 0.24)), c=1.95),
    "D5_2": _of(
        164, (0, (*THIRD, 0.245)), (1, (0, 0, 0)), (1, (*THIRD, 0.645)), c=1.56, gamma=HEXAGONAL
    ),
    "E2_2": _of(
        148, (0, (0, 0, 0.355)), (1, (0, 0, 0.145)), (2, (0.317, 0.023, 0.245)), c=2.76,
        gamma=HEXAGONAL,
    ),
    "J1_1": _of(225, (0, (0.25, 0.25, 0.25)), (1, (0, 0, 0)), (2, (0.24, 0, 0))),
    "K2NiF4": _of(
        139, (0, (0, 0, 0.355)), (1, (0, 0, 0)), (2, (0, 0.5, 0)), (2, (0, 0, 0.155)), c=3.3
    ),
}  # fmt: skip
"""More of them, that only `compounds` uses: PbO B10, anatase C5, MoS2 C7, quartz C8, cristobalite
C9 (ideal) and C30, Bi2Te3 C33, BiI3 D0_5, SnF4 D1_b, La2O3 D5_2, ilmenite E2_2, K2PtCl6 J1_1,
K2NiF4.
"""


def names_of(kinds: int) -> list[str]:
    """Those of `PROTOTYPES` that have as many elements."""
    return [name for name, prototype in PROTOTYPES.items() if prototype.kinds == kinds]


@cache
def _unit(name: str) -> Atoms:
    """The primitive cell with a = 10 A, of the elements that stand for the kinds."""
    prototype = PROTOTYPES.get(name) or IONIC[name]
    c, gamma = prototype.shape
    return crystal(
        [ROLES[kind] for kind, _ in prototype.sites],
        [position for _, position in prototype.sites],
        spacegroup=prototype.group,
        cellpar=[10, 10, 10 * c, 90, 90, gamma],
        primitive_cell=True,
        onduplicates="keep",
    )


def formula(name: str) -> tuple[int, ...]:
    """Atoms of each kind in the primitive cell of a prototype."""
    symbols = _unit(name).get_chemical_symbols()
    return tuple(symbols.count(role) for role in ROLES[: len(set(symbols))])


def crystal_of(name: str, symbols: Sequence[str], additive: float = 0.0) -> Atoms:
    """A prototype of these elements in the primitive cell; `additive` 0 is the volume of contact,
    1 that of the elements, between them their weighted geometric mean.

    Never below `DENSEST` of the latter: the radius of a gas is far too small for its crystal.
    """
    unit = _unit(name)
    kinds = [ROLES.index(s) for s in unit.get_chemical_symbols()]
    atoms = Atoms([symbols[k] for k in kinds], unit.positions, cell=unit.cell.array, pbc=True)
    return with_volume(atoms, guessed_volume(atoms, additive))


def guessed_volume(atoms: Atoms, additive: float) -> float:
    """A^3, between that of contact (0) and that of the elements (1)."""
    by_elements = sum(volume_of(s) for s in atoms.get_chemical_symbols())
    by_contact = atoms.get_volume() * contact(atoms) ** -3
    return max(by_contact ** (1 - additive) * by_elements**additive, DENSEST * by_elements)


def with_volume(atoms: Atoms, volume: float) -> Atoms:
    """The same structure, larger or smaller as a whole. A^3."""
    atoms.set_cell(atoms.cell.array * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return atoms


def contact(atoms: Atoms, reach: float = 1.0) -> float:
    """The smallest distance of two atoms by the sum of their radii; inf where none are near.

    `reach`: A or more to look at first.
    """
    radii, cell = covalent_radii[atoms.numbers], atoms.cell.array
    if atoms.pbc.any():
        reach = max(reach, 1.1 * float(np.linalg.norm(cell, axis=1).min()))
    found = edges(atoms.positions, cell, atoms.pbc, reach)
    lengths = edge_lengths(atoms.positions, cell, *found)
    return float((lengths / (radii[found[0]] + radii[found[1]])).min(initial=np.inf))


@cache
def volume_of(symbol: str) -> float:
    """A^3 of an atom of an element."""
    if symbol in VOLUMES:
        return VOLUMES[symbol]
    atoms = bulk(symbol)
    return float(atoms.get_volume()) / len(atoms)
