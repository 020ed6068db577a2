"""Structures of H C N O F Si P S Cl Br I, from a seed: molecules of ASE's G2 set, some with other
halogens, alone, in clusters, in liquids and crystals of several densities, all of them rattled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle, pairwise

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.data import vdw_radii
from scipy.spatial.transform import Rotation

from ..data.ase_files import structure_of
from ..data.structure import Structure
from .disorder import pushed_apart, radius, rattled, strained
from .inorganic import apart

ELEMENTS = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")

SHARES = {"molecule": 0.4, "cluster": 0.2, "liquid": 0.25, "crystal": 0.1, "stretched": 0.05}
"""Parts of the structures by class, which stands in `config_type`."""

HEAVIER = {"Cl": ("Br", "I"), "F": ("Cl", "Br", "I")}
"""What takes the place of a halogen."""

CLOSEST = 0.62


@cache
def molecules(symbols: tuple[str, ...] = ELEMENTS) -> tuple[Atoms, ...]:
    """All of the set that are made of these elements, and those with heavier halogens."""
    found = []
    for name in g2.names:
        plain = molecule(name)
        for atoms in (plain, *_halogenated(plain)):
            if set(atoms.get_chemical_symbols()) <= set(symbols) and len(atoms) > 1:
                found.append(Atoms(atoms.numbers, atoms.positions))
    return tuple(found)


def _halogenated(atoms: Atoms) -> Iterator[Atoms]:
    """The molecule with each kind of its halogens replaced, further out along its bond."""
    symbols = atoms.get_chemical_symbols()
    for light, others in HEAVIER.items():
        for heavy in others if light in symbols and len(atoms) > 2 else ():
            new = atoms.copy()
            for i in [i for i, s in enumerate(symbols) if s == light]:
                distances = atoms.get_distances(i, range(len(atoms)))
                distances[i] = np.inf
                bond = new.positions[i] - atoms.positions[int(np.argmin(distances))]
                new.positions[i] += bond * (radius(heavy) - radius(light)) / distances.min()
                new[i].symbol = heavy
            yield new


def structures(symbols: Sequence[str], count: int, seed: int) -> Iterator[Structure]:
    """So many structures of molecules of these elements, without labels; the same for a seed."""
    rng = np.random.default_rng([seed, count])
    known = molecules(tuple(symbols))
    turn = cycle(rng.permutation(len(known)).tolist())
    names, shares = list(SHARES), np.array([*SHARES.values()])
    for _ in range(count):
        name = names[int(rng.choice(len(names), p=shares))]
        several = 1 if name in ("molecule", "stretched") else int(rng.integers(2, 5))
        atoms = MAKERS[name]([_turned(known[next(turn)], rng) for _ in range(several)], rng)
        atoms.info = {"config_type": name}
        yield structure_of(atoms)


def _turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Turned at random around its center, and warm: bonds at rest to bonds of 2,000 K."""
    turn = Rotation.random(random_state=rng).as_matrix()
    centered = atoms.positions - atoms.positions.mean(0)
    warm = float(np.exp(rng.uniform(np.log(0.01), np.log(0.12))))
    return rattled(Atoms(atoms.numbers, centered @ turn.T), rng, warm)


def _alone(some: list[Atoms], rng: np.random.Generator) -> Atoms:
    return some[0]


def _stretched(some: list[Atoms], rng: np.random.Generator) -> Atoms:
    atoms = some[0]
    atoms.positions *= rng.uniform(0.85, 1.4)
    return atoms


def _cluster(some: list[Atoms], rng: np.random.Generator) -> Atoms:
    """Molecules side by side, the next where it touches what is there."""
    whole = some[0]
    for other in some[1:]:
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        gap = rng.uniform(0.8, 1.3)
        for distance in np.arange(1.0, 20.0, 0.2):
            moved = Atoms(other.numbers, other.positions + distance * direction)
            if _clearance(whole, moved) > gap:
                break
        whole = whole + moved
    return whole


def _clearance(one: Atoms, other: Atoms) -> float:
    """The smallest distance between atoms of two molecules by the sum of van der Waals radii."""
    between = np.linalg.norm(one.positions[:, None] - other.positions[None], axis=-1)
    sums = _vdw(one)[:, None] + _vdw(other)[None]
    return float((between / sums).min())


def _vdw(atoms: Atoms) -> np.ndarray:
    return np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0)


def _liquid(some: list[Atoms], rng: np.random.Generator) -> Atoms:
    """Molecules at random places of a cell, at 0.7 to 1.3 times a liquid's density, at which the
    van der Waals spheres of all atoms have about the volume of the cell.
    """
    whole = sum(some[1:], some[0])
    volume = 4 / 3 * np.pi * float((_vdw(whole) ** 3).sum()) / rng.uniform(0.7, 1.3)
    cell = np.diag(volume ** (1 / 3) * np.exp(0.08 * rng.normal(size=3)))
    best, clearest = whole, -1.0
    for _ in range(30):
        tried = Atoms(whole.numbers, whole.positions, cell=cell, pbc=True)
        starts = np.cumsum([0, *(len(m) for m in some)])
        for a, b in pairwise(starts):
            tried.positions[a:b] += rng.random(3) @ cell
        if (found := _between(tried, starts)) > clearest:
            best, clearest = tried, found
    return apart(pushed_apart(best, CLOSEST), CLOSEST)


def _between(atoms: Atoms, starts: np.ndarray) -> float:
    """The smallest distance of atoms of different molecules, images of the cell included."""
    vectors = atoms.positions[:, None] - atoms.positions[None]
    lengths = atoms.cell.lengths()
    vectors -= lengths * np.round(vectors / lengths)
    owner = np.searchsorted(starts, np.arange(len(atoms)), side="right")
    distances = np.linalg.norm(vectors, axis=-1)
    return float(distances[owner[:, None] != owner[None]].min(initial=np.inf))


def _crystal(some: list[Atoms], rng: np.random.Generator) -> Atoms:
    """Two molecules of a kind in a skewed cell."""
    return strained(_liquid([some[0], some[0].copy()], rng), rng, 0.06)


MAKERS = {
    "molecule": _alone,
    "cluster": _cluster,
    "liquid": _liquid,
    "crystal": _crystal,
    "stretched": _stretched,
}
