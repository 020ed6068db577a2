"""The sample set: structures of the alloy AlCoCrFeNi, labelled by the universal potential CHGNet.

    .venv/bin/pip install '.[teacher]'
    .venv/bin/python configs/sample/make_alloy.py --output alloy.extxyz

A structure is a crystal lattice with elements drawn onto its sites, its volume scaled, its cell
strained and sheared, some atoms taken out, the others rattled. How much of each stands in GROUPS.
Each structure has random numbers of its own, so that a dropped one changes no other.

Labels are eV (total), eV/A and eV/A^3, stress positive under tension.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.teachers import Failure, Teacher, load_teacher

VOLUMES = {"Al": 16.5, "Co": 11.0, "Cr": 11.5, "Fe": 11.5, "Ni": 11.0}
"""A^3 per atom where the teacher's energy of the element is lowest, to 0.5 A^3."""

CELLS = {
    "fcc": ((2, 1, 1), (2, 2, 1), (3, 2, 1), (2, 2, 2)),
    "bcc": ((2, 2, 1), (2, 2, 2), (3, 2, 2), (4, 2, 2)),
}
"""Repeats of the cubic cell (4 atoms in fcc, 2 in bcc): 8, 16, 24 or 32 atoms."""

ORDER = {"Al": 1.0, "Cr": 0.6, "Fe": 0.5, "Co": 0.1, "Ni": 0.0}
"""B2 order: elements with a high value prefer one sublattice of bcc, those with a low one the
other."""

DISORDER = (0.1, 0.6)
"""Noise on ORDER, from nearly perfect order to a weak one."""

CONCENTRATION = 12.0
"""Of the Dirichlet distribution of the composition: a standard deviation of 5 atomic per cent in
the alloy, before the draw for each site."""

LARGEST_FORCE = 15.0
"""eV/A; a structure with a larger one is dropped."""


@dataclass(frozen=True)
class Group:
    """How the structures of one `config_type` are made. Pairs are ranges of a uniform draw."""

    count: int
    lattices: tuple[str, ...]  # taken in turn; "b2" is bcc with order
    volume: tuple[float, float] = (0.90, 1.05)  # of the sum of VOLUMES; no pressure: 0.96 (alloy)
    strain: float = 0.0  # largest component of a symmetric strain; the volume stays as drawn
    rattle: tuple[float, float] = (0.02, 0.08)  # A, standard deviation of each coordinate
    vacancies: int = 0  # at most so many, at least one if any
    elements: int = 5  # taken in turn from all choices of so many


GROUPS = {
    "fcc_rattled": Group(80, ("fcc",), rattle=(0.04, 0.18)),
    "bcc_rattled": Group(80, ("bcc",), rattle=(0.04, 0.18)),
    "b2_rattled": Group(50, ("b2",), rattle=(0.04, 0.18)),
    "fcc_strained": Group(45, ("fcc",), strain=0.08),
    "bcc_strained": Group(45, ("bcc",), strain=0.08),
    "b2_strained": Group(30, ("b2",), strain=0.08),
    "fcc_volume": Group(25, ("fcc",), volume=(0.82, 1.16)),
    "bcc_volume": Group(25, ("bcc",), volume=(0.82, 1.16)),
    "vacancy": Group(50, ("fcc", "bcc", "b2"), rattle=(0.02, 0.15), vacancies=2),
    "pure": Group(30, ("fcc", "bcc"), volume=(0.88, 1.16), rattle=(0.02, 0.12), elements=1),
    "binary": Group(40, ("fcc", "b2"), volume=(0.88, 1.10), rattle=(0.02, 0.12), elements=2),
}


def structures(seed: int, times: int = 1) -> list[Atoms]:
    """All structures, without labels, `times` as many as GROUPS says; `info` holds `config_type`
    and the number in this list.
    """
    found: list[Atoms] = []
    for config_type, group in GROUPS.items():
        for turn in range(times * group.count):
            # The stream of RandomState is frozen by numpy; that of default_rng is not.
            atoms = structure(group, turn, np.random.RandomState([seed, len(found)]))
            atoms.info = {"config_type": config_type, "number": len(found)}
            found.append(atoms)
    return found


def structure(group: Group, turn: int, rng: np.random.RandomState) -> Atoms:
    """One structure of a group, the `turn`-th."""
    choices = list(combinations(VOLUMES, group.elements))
    elements = choices[turn // len(group.lattices) % len(choices)]
    lattice = group.lattices[turn % len(group.lattices)]
    parent = "fcc" if lattice == "fcc" else "bcc"
    cells = CELLS[parent][1:] if group.vacancies else CELLS[parent]
    atoms = bulk("X", parent, a=1.0, cubic=True).repeat(cells[rng.randint(len(cells))])
    atoms.symbols = occupation(lattice, len(atoms), elements, rng)
    volume = rng.uniform(*group.volume) * sum(VOLUMES[name] for name in atoms.symbols)
    strain_33 = rng.uniform(-group.strain, group.strain, (3, 3))
    strain_33 = (strain_33 + strain_33.T) / 2
    cell = atoms.cell.array @ (np.eye(3) + strain_33)
    atoms.set_cell((volume / np.linalg.det(cell)) ** (1 / 3) * cell, scale_atoms=True)
    if group.vacancies:
        del atoms[rng.permutation(len(atoms))[: rng.randint(group.vacancies) + 1]]
    atoms.positions += rng.uniform(*group.rattle) * rng.normal(size=(len(atoms), 3))
    return atoms


def occupation(
    lattice: str, sites: int, elements: tuple[str, ...], rng: np.random.RandomState
) -> list[str]:
    """An element for each site, at random; in B2 by sublattice, as ORDER and its noise say."""
    fractions = rng.dirichlet([CONCENTRATION] * len(elements))
    drawn = rng.choice(elements, size=sites, p=fractions)
    if lattice != "b2":
        return list(drawn)
    noise = rng.uniform(*DISORDER) * rng.normal(size=sites)
    ranked = drawn[np.argsort([ORDER[name] for name in drawn] + noise, kind="stable")]
    symbols = np.empty_like(drawn)
    symbols[0::2] = rng.permutation(ranked[: sites // 2])  # corners of the cubic cells
    symbols[1::2] = rng.permutation(ranked[sites // 2 :])  # their centers
    return list(symbols)


def labelled(planned: list[Atoms], teacher: Teacher) -> list[Atoms]:
    """The structures with labels, but those with a force above LARGEST_FORCE; prints progress."""
    kept: list[Atoms] = []
    start = time.time()
    for done, atoms in enumerate(planned, 1):
        (found,) = teacher.label([structure_of(atoms)])
        if isinstance(found, Failure):
            sys.exit(f"structure {atoms.info['number']} has no labels: {found.reason}")
        if np.linalg.norm(found.forces, axis=1).max() <= LARGEST_FORCE:
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=round(found.energy, 6),
                forces=found.forces,
                stress=found.stress.round(8),
            )
            kept.append(atoms)
        if done % 25 == 0 or done == len(planned):
            print(
                f"{done:4d} of {len(planned)} labelled, {done - len(kept)} dropped, "
                f"{time.time() - start:.0f} s",
                flush=True,
            )
    return kept


def summary(planned: list[Atoms], kept: list[Atoms]) -> str:
    """A table by group: structures kept and dropped, atoms, ranges."""
    counts = Counter(atoms.info["config_type"] for atoms in planned)
    lines = [
        "| config_type | structures | dropped | atoms | A^3/atom | largest force, eV/A "
        "| pressure, GPa |",
        "|---|---|---|---|---|---|---|",
    ]
    for config_type, count in counts.items():
        group = [atoms for atoms in kept if atoms.info["config_type"] == config_type]
        if not group:
            lines.append(f"| {config_type} | 0 | {count} | | | | |")
            continue
        sizes = [len(atoms) for atoms in group]
        volumes = [atoms.get_volume() / len(atoms) for atoms in group]
        force = max(np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in group)
        pressures = [-atoms.get_stress()[:3].mean() * 160.21766 for atoms in group]
        lines.append(
            f"| {config_type} | {len(group)} | {count - len(group)} | {min(sizes)}-{max(sizes)} "
            f"| {min(volumes):.1f}-{max(volumes):.1f} | {force:.1f} "
            f"| {min(pressures):.0f} to {max(pressures):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make the AlCoCrFeNi sample set: build structures, label them with CHGNet, "
        "write extended XYZ.",
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("alloy.extxyz"))
    parser.add_argument("--seed", type=int, default=0, help="default: 0, the set that is shipped")
    parser.add_argument("--times", type=int, default=1, help="so many times the structures")
    options = parser.parse_args()
    planned = structures(options.seed, options.times)
    kept = labelled(planned, load_teacher("chgnet"))
    write(options.output, kept, format="extxyz")
    print(summary(planned, kept))
    print(
        f"{len(kept)} structures, {sum(map(len, kept))} atoms, "
        f"{options.output.stat().st_size / 1e6:.2f} MB in {options.output}; "
        f"{len(planned) - len(kept)} dropped for a force above {LARGEST_FORCE:g} eV/A"
    )


if __name__ == "__main__":
    main()
