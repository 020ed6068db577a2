"""The sample set: structures of the alloy AlCoCrFeNi, labelled by the universal potential CHGNet.

    python -m venv teacher && teacher/bin/pip install 'chgnet>=0.4,<0.5' ase
    teacher/bin/python make_alloy.py --output alloy.extxyz

A structure is a crystal lattice with elements drawn onto its sites, its volume scaled, its cell
strained and sheared, some atoms taken out, the others rattled. How much of each stands in GROUPS.
Each structure has random numbers of its own, so that a dropped one changes no other.

Labels are eV (total), eV/A and eV/A^3, stress positive under tension. Before the first of them,
forces and stress of the teacher are held against finite differences of its energy.
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
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

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


def structures(seed: int) -> list[Atoms]:
    """All structures, without labels; `info` holds `config_type` and the number in this list."""
    found: list[Atoms] = []
    for config_type, group in GROUPS.items():
        for turn in range(group.count):
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


def teacher() -> tuple[Calculator, str]:
    """CHGNet on one thread, and its name; imported when needed, so that `--help` is quick."""
    import chgnet
    import torch
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    torch.set_num_threads(1)
    model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
    calculator = CHGNetCalculator(model, use_device="cpu")
    return calculator, f"CHGNet {model.version} of chgnet {chgnet.__version__}"


def check_teacher(calculator: Calculator, atoms: Atoms) -> tuple[float, float]:
    """Largest differences of forces (eV/A) and stress (eV/A^3) from finite differences.

    Ends the program where they are not rounding. A step of 0.004 A or a strain of 0.002 changes the
    energy by about 0.01 eV here, which float32 holds to some 1e-5 eV: two or three digits remain.
    """
    forces, stress = label(atoms, calculator)[1:]
    strain_slopes = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):  # Voigt order of ASE
        direction = np.zeros((3, 3))
        direction[i, j] += 0.5
        direction[j, i] += 0.5
        strain_slopes.append(strain_slope(atoms, calculator, direction))
    stress_error = np.abs(np.array(strain_slopes) / atoms.get_volume() - stress).max()
    slopes = [position_slope(atoms, calculator, coordinate) for coordinate in range(3)]
    force_error = np.abs(-np.array(slopes) - forces[0]).max()
    if force_error > 0.02 or stress_error > 2e-4:
        sys.exit(
            f"the teacher's forces or stress are not the derivatives of its energy: they differ by "
            f"{force_error:.1e} eV/A and {stress_error:.1e} eV/A^3. Sign or unit changed?"
        )
    return force_error, stress_error


def strain_slope(atoms: Atoms, calculator: Calculator, direction: np.ndarray) -> float:
    """Derivative of the energy along a strain, eV."""
    energies, step = [], 1e-3
    for sign in (1, -1):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * direction), scale_atoms=True)
        energies.append(label(moved, calculator)[0])
    return (energies[0] - energies[1]) / (2 * step)


def position_slope(atoms: Atoms, calculator: Calculator, coordinate: int) -> float:
    """Derivative of the energy along a coordinate of the first atom, eV/A."""
    energies, step = [], 2e-3
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, coordinate] += sign * step
        energies.append(label(moved, calculator)[0])
    return (energies[0] - energies[1]) / (2 * step)


def label(atoms: Atoms, calculator: Calculator) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (A, 3) in eV/A, stress (6) in eV/A^3 by the calculator."""
    atoms = atoms.copy()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    return float(energy), atoms.get_forces().astype(float), atoms.get_stress().astype(float)


def labelled(planned: list[Atoms], calculator: Calculator) -> list[Atoms]:
    """The structures with labels, but those with a force above LARGEST_FORCE; prints progress."""
    kept: list[Atoms] = []
    start = time.time()
    for done, atoms in enumerate(planned, 1):
        energy, forces, stress = label(atoms, calculator)
        if np.linalg.norm(forces, axis=1).max() <= LARGEST_FORCE:
            atoms.calc = SinglePointCalculator(
                atoms, energy=round(energy, 6), forces=forces, stress=stress.round(8)
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
    options = parser.parse_args()
    planned = structures(options.seed)
    calculator, name = teacher()
    force_error, stress_error = check_teacher(calculator, planned[0])
    print(
        f"{name}: forces and stress are derivatives of the energy to {force_error:.1e} eV/A and "
        f"{stress_error:.1e} eV/A^3"
    )
    kept = labelled(planned, calculator)
    write(options.output, kept, format="extxyz")
    print(summary(planned, kept))
    print(
        f"{len(kept)} structures, {sum(map(len, kept))} atoms, "
        f"{options.output.stat().st_size / 1e6:.2f} MB in {options.output}; "
        f"{len(planned) - len(kept)} dropped for a force above {LARGEST_FORCE:g} eV/A"
    )


if __name__ == "__main__":
    main()
