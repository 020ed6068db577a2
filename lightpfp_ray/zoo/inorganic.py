"""Structures of all elements, from a seed: every element and every pair of elements in turn, in
crystals, alloys, slabs, defects, glasses and dimers, strained, compressed and heated.

Cells are small: the labels are what costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, cycle

import numpy as np
from ase import Atoms
from ase.build import bulk

from ..data.ase_files import structure_of
from ..data.structure import Structure
from .disorder import (
    grown,
    mixed,
    packed,
    radius,
    rattled,
    slab,
    strained,
    with_one_more,
    without_one,
)
from .prototypes import (
    VOLUMES,
    contact,
    crystal_of,
    guessed_volume,
    names_of,
    volume_of,
    with_volume,
)

SHARES = {
    "element": 0.12,
    "binary": 0.28,
    "ternary": 0.12,
    "alloy": 0.12,
    "amorphous": 0.16,
    "slab": 0.06,
    "vacancy": 0.05,
    "interstitial": 0.05,
    "dimer": 0.04,
}
"""Parts of the structures by class, which stands in `config_type`."""

ANIONS = ("H", "N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I")
WITH_ANIONS = ("E2_1", "H1_1", "F5_1", "E1_1")
"""Structure types whose last kind of atom is an anion."""

CLOSEST = 0.62
"""Of the sum of the radii: structures with closer atoms are made larger. Dimers may be closer."""

BOX = 11.0
"""Side of a dimer's cell, A: no atom sees an image."""


class Elements:
    """Which elements come next: each in turn, each pair in turn, both in random order."""

    def __init__(self, symbols: Sequence[str], rng: np.random.Generator) -> None:
        self.symbols, self.rng = list(symbols), rng
        pairs = [*combinations(symbols, 2)] or [(symbols[0], symbols[0])]
        self._one = cycle(rng.permutation(self.symbols).tolist())
        self._two = cycle([pairs[i] for i in rng.permutation(len(pairs))])
        self._own = cycle(rng.permutation(self.symbols).tolist())

    def one(self) -> str:
        return next(self._one)

    def own(self) -> str:
        """The same for dimers of one element."""
        return next(self._own)

    def two(self) -> list[str]:
        return list(self.rng.permutation(next(self._two)))

    def some(self, count: int) -> list[str]:
        """The next pair, and others at random."""
        others = [s for s in self.symbols if s not in (pair := self.two())]
        more = self.rng.permutation(others)[: count - 2]
        return [*dict.fromkeys(pair), *more][:count]


def structures(symbols: Sequence[str], count: int, seed: int) -> Iterator[Structure]:
    """So many structures of these elements, without labels; the same for a seed."""
    rng = np.random.default_rng([seed, count])
    elements = Elements(symbols, rng)
    names, shares = list(SHARES), np.array([*SHARES.values()])
    for _ in range(count):
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        atoms = MAKERS[name](elements, rng)
        atoms.info = {"config_type": name}
        yield structure_of(atoms)


def _element(elements: Elements, rng: np.random.Generator) -> Atoms:
    symbol = elements.one()
    if symbol not in VOLUMES and rng.random() < 0.4:
        atoms = bulk(symbol)
    else:
        atoms = crystal_of(str(rng.choice(names_of(1))), [symbol], rng.random())
    return heated(grown(atoms, rng, int(rng.integers(2, 7))), rng)


def _crystal(elements: Elements, rng: np.random.Generator, kinds: int) -> Atoms:
    name = str(rng.choice(names_of(kinds)))
    symbols = elements.some(kinds)
    symbols = (symbols * kinds)[:kinds]
    anions = [s for s in ANIONS if s in elements.symbols and s not in symbols]
    if name in WITH_ANIONS and anions and rng.random() < 0.7:
        symbols[-1] = str(rng.choice(anions))
    return crystal_of(name, symbols, rng.random())


def _binary(elements: Elements, rng: np.random.Generator) -> Atoms:
    return heated(grown(_crystal(elements, rng, 2), rng, int(rng.integers(2, 7))), rng)


def _ternary(elements: Elements, rng: np.random.Generator) -> Atoms:
    return heated(_crystal(elements, rng, 3), rng)


def _sites(rng: np.random.Generator, symbol: str, least: int) -> Atoms:
    """A dense lattice with at least so many sites."""
    return grown(crystal_of(str(rng.choice(["A1", "A2", "A3"])), [symbol]), rng, least)


def _alloy(elements: Elements, rng: np.random.Generator) -> Atoms:
    symbols = elements.some(int(rng.integers(2, 5)))
    atoms = mixed(_sites(rng, symbols[0], 6), symbols, rng)
    return heated(with_volume(atoms, guessed_volume(atoms, rng.random())), rng)


def _amorphous(elements: Elements, rng: np.random.Generator) -> Atoms:
    symbols = elements.some(int(rng.integers(1, 5)))
    several = [*symbols, *rng.choice(symbols, size=int(rng.integers(5, 9)))]
    volume = sum(volume_of(s) for s in several) * rng.uniform(0.85, 1.4)
    return apart(packed(several, volume, rng), CLOSEST)


def _slab(elements: Elements, rng: np.random.Generator) -> Atoms:
    atoms = _crystal(elements, rng, int(rng.integers(1, 3)))
    cut = slab(atoms, rng)
    return apart(rattled(cut, rng, warmth(rng)), CLOSEST)


def _vacancy(elements: Elements, rng: np.random.Generator) -> Atoms:
    atoms = grown(_crystal(elements, rng, int(rng.integers(1, 3))), rng, 6)
    return heated(without_one(atoms, rng), rng)


def _interstitial(elements: Elements, rng: np.random.Generator) -> Atoms:
    atoms = grown(_crystal(elements, rng, int(rng.integers(1, 3))), rng, 5)
    return heated(with_one_more(atoms, elements.one(), rng), rng)


def _dimer(elements: Elements, rng: np.random.Generator) -> Atoms:
    """Two atoms at 0.55 to 2 times the sum of their radii."""
    symbols = elements.two() if rng.random() < 0.7 else [elements.own()] * 2
    distance = rng.uniform(0.55, 2.0) * sum(radius(s) for s in symbols)
    atoms = Atoms(symbols, [[0, 0, 0], [min(distance, 5.5), 0, 0]], cell=[BOX] * 3, pbc=True)
    return atoms


MAKERS = {
    "element": _element,
    "binary": _binary,
    "ternary": _ternary,
    "alloy": _alloy,
    "amorphous": _amorphous,
    "slab": _slab,
    "vacancy": _vacancy,
    "interstitial": _interstitial,
    "dimer": _dimer,
}


def heated(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Compressed or stretched, strained and rattled; volumes are 0.8 to 1.3 of the guess."""
    factor = rng.uniform(0.8, 1.3) if rng.random() < 0.4 else rng.normal(1.02, 0.06)
    atoms = with_volume(atoms, atoms.get_volume() * factor)
    atoms = strained(atoms, rng, rng.choice([0.0, 0.02, 0.06]))
    return apart(rattled(atoms, rng, warmth(rng)), CLOSEST)


def warmth(rng: np.random.Generator) -> float:
    """Deviation of a rattle, A: from near rest to beyond melting."""
    return float(np.exp(rng.uniform(np.log(0.02), np.log(0.35))))


def apart(atoms: Atoms, least: float) -> Atoms:
    """Made larger where atoms are closer than this part of the sum of their radii."""
    found = contact(atoms)
    return with_volume(atoms, atoms.get_volume() * max(1.0, least / found) ** 3)
