r"""Does a pretrained model hold crystals together by itself? Volumes against the teacher's, and
molecular dynamics at constant pressure.

    python benchmarks/zoo_md.py ALL_ELEMENTS_SMALL_6 --ps 10 --keep zoo_md.json

Ten crystals, each kept in the file when it is done; the same command goes on with the others.
Volume: of least energy by uniform scaling of the cell, atoms relaxed at each of the volumes, by the
teacher and by the model. Dynamics: 300 and 1,000 K, zero pressure, 2 fs a step; a run has exploded
where two atoms come closer than 0.5 of the sum of their radii, the volume leaves 0.5 to 2 times
that of the start or a value is not finite.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE
from ase.spacegroup import crystal
from zoo import TeacherCalculator

from lightpfp_ray import load
from lightpfp_ray.files import write_atomically
from lightpfp_ray.teachers import load_teacher
from lightpfp_ray.zoo.prototypes import contact

TEMPERATURES = (300, 1000)

CLOSEST = 0.5
"""Of the sum of the radii."""

ATOMS = 32
"""Of a cell that is heated, at least."""

SCALES = np.linspace(0.85, 1.2, 15)
"""Of the volume."""


def crystals() -> dict[str, Atoms]:
    """Near their measured cells."""
    return {
        "Cu": bulk("Cu"),
        "W": bulk("W"),
        "Mg": bulk("Mg"),
        "Si": bulk("Si"),
        "GaAs": bulk("GaAs", "zincblende", a=5.65),
        "MgO": bulk("MgO", "rocksalt", a=4.21),
        "NaCl": bulk("NaCl", "rocksalt", a=5.64),
        "TiO2 anatase": crystal(
            ["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)], spacegroup=141,
            cellpar=[3.785, 3.785, 9.514, 90, 90, 90], primitive_cell=True,
        ),
        "SiO2 quartz": crystal(
            ["Si", "O"], [(0.47, 0, 2 / 3), (0.414, 0.267, 0.786)], spacegroup=154,
            cellpar=[4.913, 4.913, 5.405, 90, 90, 120],
        ),
        "SrTiO3": crystal(
            ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221,
            cellpar=[3.905, 3.905, 3.905, 90, 90, 90],
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a pretrained model, or the path of a potential")
    parser.add_argument("--teacher", default="chgnet")
    parser.add_argument("--ps", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, help="file of what is done, and is not done again")
    parser.add_argument("--only", nargs="+", choices=crystals(), help="default: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    teacher = TeacherCalculator(load_teacher(given.teacher))
    done = _done(given.keep)
    print(f"{given.name}, {given.ps:g} ps: volumes in A^3/atom, of the dynamics the second half's")
    print(
        f"{'':14}{'teacher':>9}{'model':>9}{'off %':>8}"
        + "".join(f"{t:>14} K" for t in TEMPERATURES)
    )
    for name in given.only or crystals():
        key = f"{given.name} {given.teacher} {given.ps:g} {name}"
        if key not in done:
            done[key] = _tried(crystals()[name], teacher, given.name, given.ps)
        if given.keep:
            write_atomically(given.keep, json.dumps(done, indent=1).encode())
        there, here, *cells = done[key]
        off = 100 * (here / there - 1)
        print(
            f"{name:14}{there:9.2f}{here:9.2f}{off:8.1f}" + "".join(f"{c:>16}" for c in cells),
            flush=True,
        )


def _done(file: Path | None) -> dict[str, list]:
    return json.loads(file.read_text()) if file and file.exists() else {}


def _tried(atoms: Atoms, teacher: Calculator, name: str, ps: float) -> list:
    """Volume of the teacher and of the model, and how it is at each of the temperatures."""
    there, here = (volume(atoms, c) for c in (teacher, load(name).calculator()))
    hot = [heated(atoms, here, load(name).calculator(), t, ps) for t in TEMPERATURES]
    return [there, here, *hot]


def volume(atoms: Atoms, calculator: Calculator) -> float:
    """A^3 an atom, where the energy of the relaxed atoms is least; NaN where that is at an end."""
    energies = []
    for scale in SCALES:
        found = atoms.copy()
        found.set_cell(atoms.cell.array * scale ** (1 / 3), scale_atoms=True)
        found.calc = calculator
        with FIRE(found, logfile=None) as relaxation:
            relaxation.run(fmax=0.03, steps=60)
        energies.append(found.get_potential_energy())
    best = int(np.argmin(energies))
    if best in (0, len(SCALES) - 1):
        return float("nan")
    some = slice(best - 1, best + 2)
    a, b, _ = np.polyfit(SCALES[some], energies[some], 2)
    return float(-b / (2 * a) * atoms.get_volume() / len(atoms))


def heated(
    atoms: Atoms, at_rest: float, calculator: Calculator, temperature: float, ps: float
) -> str:
    """The mean volume of the second half, or when it exploded."""
    atoms = atoms.copy()
    if np.isfinite(at_rest):
        factor = at_rest * len(atoms) / atoms.get_volume()
        atoms.set_cell(atoms.cell.array * factor ** (1 / 3), scale_atoms=True)
    while len(atoms) < ATOMS:
        shortest = int(np.argmin(atoms.cell.lengths()))
        atoms = atoms.repeat([2 if i == shortest else 1 for i in range(3)])
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    begun, volumes, step = atoms.get_volume(), [], 2 * units.fs
    dynamics = IsotropicMTKNPT(
        atoms, step, temperature_K=temperature, pressure_au=0.0, tdamp=50 * step, pdamp=500 * step
    )
    for moment in range(round(ps / 0.1)):
        dynamics.run(50)
        size = atoms.get_volume() / begun
        if not (0.5 < size < 2 and np.isfinite(atoms.positions).all()):
            return f"exploded {0.1 * (moment + 1):.1f} ps"
        if contact(atoms) < CLOSEST:
            return f"collapsed {0.1 * (moment + 1):.1f} ps"
        volumes.append(atoms.get_volume() / len(atoms))
    return f"{np.mean(volumes[len(volumes) // 2 :]):.2f}"


if __name__ == "__main__":
    main()
