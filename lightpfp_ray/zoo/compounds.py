"""Compounds as nature has them, from a seed: cations and anions whose charges are balanced, in the
structure types that such compounds take, and elements, near rest: what `inorganic` has little of.

Of each compound there are several structures, from compressed to stretched. The crystals of
`EXCLUDED` are left out: they are what a model is tried on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product

import numpy as np
from ase import Atoms
from ase.build import bulk

from ..data.ase_files import structure_of
from ..data.neighbors import edge_lengths, edges
from ..data.structure import Structure
from .disorder import grown, rattled, strained
from .inorganic import CLOSEST, apart
from .ions import ANIONS, CATIONS, OFTEN
from .prototypes import VOLUMES, crystal_of, formula, with_volume

CONFIG_TYPE = "compound"

MEMBERS = 4
"""Structures of a compound: one in each of as many parts of `FACTORS`."""

FACTORS = (0.8, 1.25)
"""Of the guessed volume."""

ELEMENTS = 0.08
"""Part of the structures that are of one element."""

WARM, HOT = (0.01, 0.12), (0.12, 0.25)
"""Deviations of a rattle, A: most of them, and the hotter ones."""

HOTTER = 0.15
"""Part of the structures that are hot."""

NEAR = 1.2
"""Of a cation's shortest distance to an anion: as far out its neighbors are counted."""

SQUEEZED = 0.85
"""Of twice their radius: so close are two anions in a compound at rest, at most."""


@dataclass(frozen=True)
class Family:
    """A structure type of compounds.

    roles: of each kind of the prototype's atoms: C a cation, D a smaller one, X the anion
    weight: how often it is taken
    size: volume at rest by that of the radii, the median of some compounds with CHGNet
    larger: the least radius of C by that of D
    """

    prototype: str
    roles: str
    weight: float
    size: float = 1.0
    larger: float = 1.0


FAMILIES = (
    Family("B1", "CX", 1.5),
    Family("B2", "CX", 0.6, 0.9),
    Family("B3", "CX", 1.5, 0.96),
    Family("B4", "CX", 1.0),
    Family("B8_1", "CX", 0.6),
    Family("B10", "CX", 0.4, 0.9),
    Family("C1", "CX", 0.8),
    Family("C4", "CX", 1.0, 0.96),
    Family("C5", "CX", 0.8, 0.92),
    Family("C6", "CX", 0.6, 1.04),
    Family("C7", "CX", 0.4, 1.1),
    Family("C8", "CX", 0.8),
    Family("C9", "CX", 0.5, 0.95),
    Family("C30", "CX", 0.6),
    Family("C1", "XC", 0.8),
    Family("C6", "XC", 0.3),
    Family("C3", "CX", 0.3),
    Family("D0_9", "CX", 0.6, 0.93),
    Family("D0_3", "CX", 0.4, 0.85),
    Family("D0_5", "CX", 0.6),
    Family("D0_9", "XC", 0.3, 1.2),
    Family("D0_3", "XC", 0.4, 1.2),
    Family("D1_b", "CX", 0.4, 1.05),
    Family("D5_1", "CX", 1.0),
    Family("D5_2", "CX", 0.7, 0.95),
    Family("C33", "CX", 0.4, 0.92),
    Family("D5_2", "XC", 0.5, 1.03),
    Family("C1_b", "XDC", 0.6),
    Family("E1_1", "CDX", 0.8, 0.88),
    Family("F5_1", "CDX", 0.8, 0.86),
    Family("E2_1", "CDX", 2.5, 0.92, 1.4),
    Family("E2_2", "CDX", 0.8, 0.96),
    Family("J1_1", "CDX", 0.6, 0.78),
    Family("K2NiF4", "CDX", 0.8, 0.86, 1.4),
)

EXCLUDED = frozenset(
    {
        ("A1", frozenset({"Cu"})),
        ("A2", frozenset({"W"})),
        ("A3", frozenset({"Mg"})),
        ("A4", frozenset({"Si"})),
        ("B3", frozenset({"Ga", "As"})),
        ("B1", frozenset({"Mg", "O"})),
        ("B1", frozenset({"Na", "Cl"})),
        ("C5", frozenset({"Ti", "O"})),
        ("C8", frozenset({"Si", "O"})),
        ("E2_1", frozenset({"Sr", "Ti", "O"})),
    }
)
"""Structure type and elements of what is never made: the crystals of `benchmarks/zoo_md.py`."""


@dataclass(frozen=True)
class Compound:
    """Elements of the kinds of atoms of a family, and what the charges of its cations are."""

    family: Family
    symbols: tuple[str, ...]
    charges: tuple[int, ...]  # 0 of the anion

    def at_rest(self) -> Atoms:
        """The primitive cell with the volume that is guessed from the radii of its ions."""
        atoms = crystal_of(self.family.prototype, self.symbols)
        radii = {
            s: ANIONS[s][1] if role == "X" else CATIONS[s][charge]
            for role, s, charge in zip(self.family.roles, self.symbols, self.charges, strict=True)
        }
        anion = self.symbols[self.family.roles.index("X")]
        factor = self.family.size * _growth(atoms, radii, anion) ** 3
        return with_volume(atoms, atoms.get_volume() * factor)


def _growth(atoms: Atoms, radii: Mapping[str, float], anion: str) -> float:
    """The factor of all lengths at which the tightest pair has the distance of its radii."""
    cell, symbols = atoms.cell.array, np.array(atoms.get_chemical_symbols())
    reach = 2.0 * float(np.linalg.norm(cell, axis=1).min())
    found = edges(atoms.positions, cell, atoms.pbc, reach)
    lengths, ends = edge_lengths(atoms.positions, cell, *found), symbols[found[1]]
    factors = []
    for symbol, radius in radii.items():
        near = lengths[(symbols[found[0]] == symbol) & (ends == anion)]
        if symbol == anion:
            factors.append(SQUEEZED * 2 * radius / near.min())
            continue
        shell = near[near < NEAR * near.min()]
        number = len(shell) / np.count_nonzero(symbols == symbol)
        factors.append((radius + radii[anion]) * (number / 6) ** 0.125 / shell.mean())
    return max(factors)


def compounds_of(family: Family, symbols: Sequence[str]) -> list[Compound]:
    """All of a family that these elements make and whose charges are balanced."""
    counts = formula(family.prototype)
    cations = [(s, q) for s in symbols for q in CATIONS.get(s, ())]
    anions = [(s, 0) for s in symbols if s in ANIONS]
    found = []
    for ions in product(*(anions if role == "X" else cations for role in family.roles)):
        names, charges = zip(*ions, strict=True)
        anion = family.roles.index("X")
        positive = sum(n * q for n, q in zip(counts, charges, strict=True))
        if (
            positive == counts[anion] * ANIONS[names[anion]][0]
            and len(set(names)) == len(names)
            and (family.prototype, frozenset(names)) not in EXCLUDED
            and _fits(family, ions)
        ):
            found.append(Compound(family, names, charges))
    return found


def _fits(family: Family, ions: Sequence[tuple[str, int]]) -> bool:
    """Whether C is larger than D by enough."""
    radii = {role: CATIONS[s][q] for role, (s, q) in zip(family.roles, ions, strict=True) if q}
    return radii["C"] >= family.larger * radii.get("D", 0.0)


class Turns:
    """Which compound or element comes next: a family and an anion by their weights, of theirs each
    in turn in random order.
    """

    def __init__(self, symbols: Sequence[str], rng: np.random.Generator) -> None:
        self.rng = rng
        self._element = cycle(rng.permutation(list(symbols)).tolist())
        self._of: list[tuple[float, dict[str, cycle]]] = []
        for family in FAMILIES:
            by_anion = defaultdict(list)
            for compound in compounds_of(family, symbols):
                by_anion[compound.symbols[family.roles.index("X")]].append(compound)
            if by_anion:
                turns = {
                    anion: cycle([some[i] for i in rng.permutation(len(some))])
                    for anion, some in by_anion.items()
                }
                self._of.append((family.weight, turns))

    def next(self) -> Atoms:
        """The next crystal at rest."""
        if not self._of or self.rng.random() < ELEMENTS:
            return self._lattice(next(self._element))
        weights = np.array([weight for weight, _ in self._of])
        _, turns = self._of[int(self.rng.choice(len(self._of), p=weights / weights.sum()))]
        anions = list(turns)
        weights = np.array([OFTEN.get(anion, 1.0) for anion in anions])
        return next(turns[str(self.rng.choice(anions, p=weights / weights.sum()))]).at_rest()

    def _lattice(self, symbol: str) -> Atoms:
        """An element in the lattice that ASE knows it by, or in a common one."""
        dense = [name for name in ("A1", "A2", "A3") if not _is_excluded(name, symbol)]
        tried = [name for name in ("A1", "A2", "A3", "A4") if _is_excluded(name, symbol)]
        if symbol not in VOLUMES and not tried and self.rng.random() < 0.5:
            return bulk(symbol)
        return crystal_of(str(self.rng.choice(dense)), [symbol], 1.0)


def _is_excluded(name: str, symbol: str) -> bool:
    return (name, frozenset({symbol})) in EXCLUDED


def structures(symbols: Sequence[str], count: int, seed: int) -> Iterator[Structure]:
    """So many structures of these elements, without labels; the same for a seed, and more begin
    with the same as fewer.
    """
    rng = np.random.default_rng([seed, 2])
    turns = Turns(symbols, rng)
    for k in range(count):
        if k % MEMBERS == 0:
            rest, parts = turns.next(), rng.permutation(MEMBERS)
        atoms = _member(rest, (parts[k % MEMBERS] + rng.random()) / MEMBERS, rng)
        atoms.info = {"config_type": CONFIG_TYPE}
        yield structure_of(atoms)


def _member(rest: Atoms, part: float, rng: np.random.Generator) -> Atoms:
    """A structure of a crystal; part: 0 compressed to 1 stretched."""
    low, high = FACTORS
    atoms = with_volume(rest.copy(), rest.get_volume() * low * (high / low) ** part)
    atoms = strained(grown(atoms, rng, int(rng.integers(2, 7))), rng, rng.choice([0.0, 0.01, 0.03]))
    warmth = np.log(HOT if rng.random() < HOTTER else WARM)
    return apart(rattled(atoms, rng, float(np.exp(rng.uniform(*warmth)))), CLOSEST)
