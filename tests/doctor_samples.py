"""A small clean set from EMT, with strained copies, and the faults that are put into it."""

from dataclasses import replace

import numpy as np
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT

from lightpfp_ray.data.structure import Structure

BOHR, HARTREE, GPA = 0.529177210903, 27.211386245988, 160.21766208


def clean(seed=0):
    """Cu and Cu-Au: rattled cells of 8 to 24 atoms, and strained copies of the crystal of Cu."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(60):
        atoms = make_supercell(bulk("Cu", cubic=True), np.diag([1, 2, 1 + n % 3]))
        if n % 3 == 0:
            atoms.numbers[rng.permutation(len(atoms))[: len(atoms) // 4]] = 79
        stretch = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ stretch, scale_atoms=True)
        atoms.positions += rng.uniform(0.02, 0.15) * rng.normal(size=atoms.positions.shape)
        found.append(_labelled(atoms, f"a.extxyz#{n}"))
    for n, size in enumerate(np.linspace(-0.05, 0.06, 12)):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * (1 + size), scale_atoms=True)
        found.append(_labelled(atoms, f"a.extxyz#{60 + n}"))
    return found


def _labelled(atoms, source):
    atoms.calc = EMT()
    forces = atoms.get_forces()
    forces[np.abs(forces) < 1e-10] = 0.0
    return Structure(
        numbers=np.array(atoms.numbers, np.int64),
        positions=atoms.positions.copy(),
        cell=atoms.cell.array.copy(),
        pbc=np.ones(3, bool),
        energy=float(atoms.get_potential_energy()),
        forces=forces,
        stress=atoms.get_stress(),
        source=source,
    )


def with_stress(factor):
    return lambda structures, rng: [replace(s, stress=factor * s.stress) for s in structures]


def _some(structures, part, rng):
    count = max(1, round(part * len(structures)))
    return set(rng.choice(len(structures), count, replace=False).tolist())


def _forces_zeroed(structures, rng):
    moving = [i for i, s in enumerate(structures) if s.forces.any()]
    chosen = set(rng.choice(moving, max(1, len(structures) // 20), replace=False).tolist())
    return [
        replace(s, forces=np.zeros_like(s.forces)) if i in chosen else s
        for i, s in enumerate(structures)
    ]


def _in_hartree(structures, rng):
    return [replace(s, energy=s.energy / HARTREE) for s in structures]


def _per_atom(structures, rng):
    return [replace(s, energy=s.energy / len(s.numbers)) for s in structures]


def _duplicated(structures, rng):
    return structures + [
        replace(structures[i], source=f"b.extxyz#{i}") for i in sorted(_some(structures, 0.01, rng))
    ]


def _exploded(structures, rng):
    (chosen,) = _some(structures, 0, rng)
    s = structures[chosen]
    bad = replace(
        s,
        positions=s.positions + 0.7 * rng.normal(size=s.positions.shape),
        forces=60 * rng.normal(size=s.forces.shape),
        energy=s.energy + 6.0 * len(s.numbers),
    )
    return [bad if i == chosen else t for i, t in enumerate(structures)]


def _two_settings(structures, rng):
    chosen = _some(structures, 1 / 3, rng)
    return [
        replace(s, energy=s.energy + len(s.numbers)) if i in chosen else s
        for i, s in enumerate(structures)
    ]


def _in_bohr(structures, rng):
    return [replace(s, positions=s.positions / BOHR, cell=s.cell / BOHR) for s in structures]


FAULTS = {
    "stress sign": (with_stress(-1.0), {"stress sign"}, "multiply it by -1"),
    "stress in kB": (with_stress(10 * GPA), {"stress unit"}, "stress is in kB"),
    "stress in GPa": (with_stress(GPA), {"stress unit"}, "stress is in GPa"),
    "forces zeroed": (_forces_zeroed, {"zero forces"}, "exactly zero"),
    "energies in Hartree": (_in_hartree, {"energy unit"}, "look like Hartree"),
    "energies per atom": (_per_atom, {"energy per atom"}, "per atom, not of the whole"),
    "duplicates": (_duplicated, {"duplicates"}, "there before"),
    "an exploded frame": (
        _exploded,
        {"large force", "far energy", "near atoms", "net force"},
        "far above all others",
    ),
    "two settings": (_two_settings, {"two energy settings"}, "eV per atom from the others"),
    "lengths in Bohr": (_in_bohr, {"length unit"}, "look like Bohr"),
}
"""Fault -> how it is put in, kinds of findings that may tell of it, words of one of them."""
