"""Molecular dynamics with ASE on the calculator: time of a step, what of it is the engine, and the
drift of the energy.

Without --potential, a level-12 MTP is fitted to --data in seconds. The speed is of silicon at
300 K, NVE, 1 fs; "engine" is the model's call, "edges" the search for them, the rest is ASE and the
calculator. The drift is the slope of the total energy over --drift-ps of --drift-atoms atoms.

    python benchmarks/md.py --data ../shared/data/mlearn/Si_train.extxyz
    python benchmarks/md.py --potential Si.mtp --species 14 --atoms 10000 --threads 1 2
"""

from __future__ import annotations

import argparse
import copy
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.io import read
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from quick_fit import fitted

from lightpfp_ray import load
from lightpfp_ray.calculator import SKIN, MTPCalculator
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.mtp.engine import description
from lightpfp_ray.mtp.model import MTP

LATTICE = 5.468  # A, of silicon with PBE
TIMESTEP = 1.0  # fs
TEMPERATURE = 300.0  # K
EQUILIBRATION = 500  # steps before the drift is measured
SAMPLE = 20  # steps between two values of the energy


def main() -> None:
    options = arguments()
    model = potential(options)
    neighbors = neighbors_of(model)
    print(
        f"{description()}; {len(model.basis.scalars)} basis functions, {len(model.basis.products)} "
        f"products, {neighbors:.0f} neighbors within {model.cutoff:g} A, {model.dtype}"
    )
    print(
        f"{'atoms':>8}{'threads':>8}{'skin A':>7}{'steps':>7}{'us/atom/step':>13}{'engine':>8}"
        f"{'edges':>7}{'rest':>6}{'searches':>9}"
    )
    for n_atoms in options.atoms:
        for threads in options.threads:
            torch.set_num_threads(threads)
            for skin in options.skin:
                print(speed_row(model, n_atoms, threads, skin, options.steps), flush=True)
    if options.drift_ps:
        torch.set_num_threads(max(options.threads))
        print(drift_row(model, options.drift_atoms, options.drift_ps))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--potential", help="folder, .mtp or .almtp that knows silicon")
    source.add_argument("--data", help="labelled silicon, to fit a potential to")
    parser.add_argument("--species", nargs="+", type=int)
    parser.add_argument("--level", type=int, default=12)
    parser.add_argument("--atoms", nargs="+", type=int, default=[10_000])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--skin", nargs="+", type=float, default=[SKIN])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--drift-atoms", type=int, default=1000)
    parser.add_argument("--drift-ps", type=float, default=20.0, help="0: not measured")
    parser.add_argument("--dtype", default="float64", choices=["float64", "float32"])
    return parser.parse_args()


def potential(options: argparse.Namespace) -> MTP:
    if options.potential:
        model = load(options.potential, options.species).model
    else:
        frames = read(options.data, ":")
        model = fitted([structure_of(atoms) for atoms in frames], options.level)
    return model.to(getattr(torch, options.dtype))


def silicon(n_atoms: int) -> Atoms:
    """A cube of about n_atoms, moving at TEMPERATURE: displacements take their half of it."""
    repeat = max(1, round((n_atoms / 8) ** (1 / 3)))
    atoms = bulk("Si", a=LATTICE, cubic=True).repeat(repeat)
    thermalize_momenta(atoms, temperature_K=2 * TEMPERATURE, rng=np.random.default_rng(0))
    Stationary(atoms)
    return atoms


def neighbors_of(model: MTP) -> float:
    batch = batch_from_structures([structure_of(silicon(64))], model.cutoff)
    return batch.n_edges / batch.n_atoms


@dataclass
class Clock:
    """Time that was spent in functions, by name."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def around(self, name: str, function: Callable) -> Callable:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return timed


class TimedCalculator(MTPCalculator):
    """The calculator, with a clock around its model and its edges."""

    def __init__(self, model: MTP, clock: Clock, skin: float) -> None:
        super().__init__(copy.deepcopy(model), skin=skin)
        self.model.engine = clock.around("engine", model.engine)
        self._moving.batch = clock.around("edges", self._moving.batch)


def speed_row(model: MTP, n_atoms: int, threads: int, skin: float, steps: int) -> str:
    atoms, clock = silicon(n_atoms), Clock()
    atoms.calc = TimedCalculator(model, clock, skin)
    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)
    dynamics.run(20)
    searches = atoms.calc._moving.searches
    clock.seconds.clear()
    began = time.perf_counter()
    dynamics.run(steps)
    total = time.perf_counter() - began
    shares = {name: clock.seconds[name] / total for name in ("engine", "edges")}
    return (
        f"{len(atoms):8d}{threads:8d}{skin:7.2f}{steps:7d}"
        f"{1e6 * total / steps / len(atoms):13.2f}{shares['engine']:8.0%}{shares['edges']:7.0%}"
        f"{1 - sum(shares.values()):6.0%}{atoms.calc._moving.searches - searches:9d}"
    )


def drift_row(model: MTP, n_atoms: int, picoseconds: float) -> str:
    """The slope of the total energy per atom, by least squares, and its deviation around it."""
    atoms = silicon(n_atoms)
    atoms.calc = MTPCalculator(model)
    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)
    dynamics.run(EQUILIBRATION)
    energies, temperatures = [], []

    def sample() -> None:
        energies.append(atoms.get_total_energy() / len(atoms))
        temperatures.append(atoms.get_temperature())

    dynamics.attach(sample, interval=SAMPLE)
    began = time.perf_counter()
    dynamics.run(round(1e3 * picoseconds / TIMESTEP))
    time_ps = SAMPLE * TIMESTEP * 1e-3 * np.arange(len(energies))
    slope, offset = np.polyfit(time_ps, energies, 1)
    deviation = np.std(energies - (slope * time_ps + offset))
    return (
        f"NVE of {len(atoms)} atoms, {picoseconds:g} ps at {np.mean(temperatures):.0f} K: drift "
        f"{slope:.2e} eV/atom/ps, deviation {deviation:.1e} eV/atom, "
        f"{time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
