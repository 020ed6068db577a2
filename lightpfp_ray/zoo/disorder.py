"""What takes a crystal away from its rest: strain, heat, defects, surfaces, melting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms, units
from ase.build import surface
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii
from ase.md.langevin import Langevin

from ..data.neighbors import edges
from .prototypes import contact, with_volume

APART = 0.8
"""Of the sum of their radii: how far apart packed atoms are pushed."""

PUSHES = 60

PLACES = 20
"""Random places of which the roomiest is taken for an interstitial atom."""


def strained(atoms: Atoms, rng: np.random.Generator, size: float) -> Atoms:
    """Every component of a symmetric strain is normal with this deviation."""
    strain = size * rng.normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    return atoms


def rattled(atoms: Atoms, rng: np.random.Generator, size: float) -> Atoms:
    """Every coordinate moves by a normal deviate of this deviation, A."""
    atoms.positions += size * rng.normal(size=atoms.positions.shape)
    return atoms


def grown(atoms: Atoms, rng: np.random.Generator, least: int) -> Atoms:
    """Repeated along random axes until it has so many atoms; along the shortest one likeliest."""
    while len(atoms) < least:
        lengths = atoms.cell.lengths()
        axis = rng.choice(3, p=lengths**-2.0 / (lengths**-2.0).sum())
        atoms = atoms.repeat([2 if i == axis else 1 for i in range(3)])
    return atoms


def without_one(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """A vacancy."""
    del atoms[int(rng.integers(len(atoms)))]
    return atoms


def with_one_more(atoms: Atoms, symbol: str, rng: np.random.Generator) -> Atoms:
    """An interstitial atom, where there is most room of some random places."""
    tried = [atoms + Atoms(symbol, rng.random((1, 3)) @ atoms.cell.array) for _ in range(PLACES)]
    return max(tried, key=contact)


def mixed(atoms: Atoms, symbols: Sequence[str], rng: np.random.Generator) -> Atoms:
    """A random alloy on the sites of a crystal: each of the elements where there is room."""
    some = [*symbols, *rng.choice(symbols, size=max(0, len(atoms) - len(symbols)))]
    atoms.set_chemical_symbols(list(rng.permutation(some[: len(atoms)])))
    return atoms


def slab(atoms: Atoms, rng: np.random.Generator, vacuum: float = 7.0) -> Atoms:
    """A crystal cut along a plane of small indices, with vacuum (A) on both sides together."""
    indices = [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1), (1, 0, 1)][int(rng.integers(5))]
    cut = surface(atoms, indices, layers=1, vacuum=vacuum / 2, periodic=True)
    thickness = np.ptp(cut.positions[:, 2])
    if thickness < 3.0 and 2 * len(cut) <= 12:
        cut = surface(atoms, indices, layers=2, vacuum=vacuum / 2, periodic=True)
    return cut


def packed(symbols: Sequence[str], volume: float, rng: np.random.Generator) -> Atoms:
    """Atoms at random places of a nearly cubic cell, pushed apart: a glass that was never cooled.

    volume: A^3.
    """
    cell = np.diag(volume ** (1 / 3) * np.exp(0.1 * rng.normal(size=3)))
    atoms = Atoms(symbols, rng.random((len(symbols), 3)) @ cell, cell=cell, pbc=True)
    return pushed_apart(with_volume(atoms, volume))


def pushed_apart(atoms: Atoms, apart: float = APART) -> Atoms:
    """Move atoms until none is closer than this part of the sum of the radii, or for a while."""
    radii, cell = covalent_radii[atoms.numbers], atoms.cell.array
    reach = 2 * apart * radii.max()
    for _ in range(PUSHES):
        center, neighbor, shift = edges(atoms.positions, cell, atoms.pbc, reach)
        vectors = atoms.positions[neighbor] + shift @ cell - atoms.positions[center]
        lengths = np.linalg.norm(vectors, axis=1)
        overlap = apart * (radii[center] + radii[neighbor]) - lengths
        close = (overlap > 1e-3) & (lengths > 1e-6)
        if not close.any():
            break
        moves = -0.5 * (overlap / lengths)[close, None] * vectors[close]
        np.add.at(atoms.positions, center[close], moves)
    return atoms


def molten(
    atoms: Atoms,
    calculator: Calculator,
    temperature: float,
    rng: np.random.Generator,
    steps: int = 200,
    every: int = 50,
    step_fs: float = 2.0,
) -> Iterator[Atoms]:
    """Some moments of molecular dynamics at a temperature in K and the volume as it is; it ends
    early where the atoms fly apart.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    momenta = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(momenta[:, None] * rng.normal(size=(len(atoms), 3)))
    dynamics = Langevin(
        atoms,
        step_fs * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )
    for _ in range(steps // every):
        dynamics.run(every)
        if not np.isfinite(atoms.positions).all() or atoms.get_temperature() > 20 * temperature:
            return
        copy = atoms.copy()
        copy.calc = None
        yield copy


def radius(symbol: str) -> float:
    """Covalent radius, A."""
    return float(covalent_radii[atomic_numbers[symbol]])
