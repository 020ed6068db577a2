"""Time per atom of energies, forces and stress, and of the gradient of a loss that holds them.

A batch of structures of 64 atoms of germanium, diamond lattice, 65 neighbors within the cutoff,
random parameters. Beside the compiled engine stand the torch engine and, where it is installed, the
C engine of motep (`pip install motep==0.2.0`), which reads the same potential from a .mtp file and
takes one structure at a time. Everything is timed in turns, and the least time of each is printed.
With one thread it is the time of the processor, so that the ratios hold on a busy machine; with
several it is that of the clock.

    python benchmarks/engine.py --threads 1 2 --levels 8 12 16 20 SMALL

"EFS": energy, forces and stress of the batch; "EFS 1" of one structure alone. "gradient": the
derivatives of a mean squared loss by all parameters, after EFS. "step": both, with the loss: what a
training does for each batch. motep's training mode gives the derivatives of energies, forces and
stress by all parameters in one call that holds its EFS, so it is compared with both; it runs on one
core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

from lightpfp_ray.batch import Batch
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mlip_format import write_mtp
from lightpfp_ray.mtp.engine import compiled, description, torch_engine
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape

CUTOFF = 7.0
ENOUGH_S = 0.02
"""A call is repeated until it takes this long."""

Calls = dict[str, Callable[[], object]]


def main() -> None:
    options = arguments()
    atoms = germanium()
    print(f"{description()}; {os.cpu_count()} cores; motep: {bool(find_spec('motep'))}")
    for threads in options.threads:
        torch.set_num_threads(threads)
        edges = int(batch_of([atoms]).n_edges) / len(atoms)
        sizes = f"{options.structures} structures of {len(atoms)} Ge atoms, {edges:.0f} neighbors"
        print(f"\n{threads} threads, {sizes}, us per atom\n")
        print(HEAD)
        for level in options.levels:
            row = measured(level, atoms, options, with_motep=threads == 1)
            print(line(level, row), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", nargs="+", default=["8", "12", "16", "20", "SMALL"])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--structures", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--no-motep", action="store_true")
    return parser.parse_args()


def germanium() -> Atoms:
    atoms = bulk("Ge", "diamond", 5.66, cubic=True).repeat(2)
    atoms.rattle(0.05, seed=0)
    return atoms


def batch_of(structures: Sequence[Atoms]) -> Batch:
    """With labels that are zero."""
    zero = {"energy": 0.0, "stress": np.zeros(6)}
    return batch_from_structures(
        [
            Structure(
                a.numbers, a.positions, np.array(a.cell), a.pbc, forces=0 * a.positions, **zero
            )
            for a in structures
        ],
        CUTOFF,
    )


def potential(level: str) -> MTP:
    """Random parameters, the moments of unit size."""
    levels = Levels(8, mu_cost=1) if level == "SMALL" else Levels(int(level))
    model = MTP([32], make_basis(levels), RadialShape(CUTOFF, 2.0, 8, 0.02))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn_like(parameter))
    return model


def loss_of(model: MTP, batch: Batch, engine) -> torch.Tensor:
    found = engine(model, batch, training=True)
    parts = (found.energy_S / batch.atoms_S, found.forces_A3.double(), found.stress_S6)
    labels = (batch.energy_S, batch.forces_A3, batch.stress_S6)
    return sum((d - label).square().mean() for d, label in zip(parts, labels, strict=True))


def calls_of(name: str, model: MTP, batch: Batch, engine) -> Calls:
    def step() -> None:
        model.zero_grad()
        loss_of(model, batch, engine).backward()

    calls: Calls = {
        f"{name} EFS": lambda: engine(model, batch, training=False),
        f"{name} step": step,
    }
    if engine is compiled.evaluate:
        loss = loss_of(model, batch, engine)
        calls[f"{name} gradient"] = lambda: loss.backward(retain_graph=True)
    return calls


def motep_calls(model: MTP, atoms: Atoms) -> tuple[Calls, float]:
    """Its two modes, and the energy that it finds."""
    from motep.calculator import make_mtp_engine
    from motep.io.mlip.mtp import read_mtp

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "potential.mtp"
        write_mtp(path, model)
        data = read_mtp(path)
    data.species = np.array([32], dtype=np.int32)
    run, train = (make_mtp_engine("cext")(data, mode=mode) for mode in ("run", "train"))
    energy = float(run.calculate(atoms)["energy"])
    return {
        "motep EFS": lambda: run.calculate(atoms),
        "motep step": lambda: train.calculate(atoms),
    }, energy


def measured(level: str, atoms: Atoms, options, with_motep: bool) -> dict[str, float]:
    """Least time of each call, us per atom; and the difference of the energies, eV."""
    model, batch = potential(level), batch_of([atoms] * options.structures)
    one = batch_of([atoms])
    single = potential(level).float()
    calls = calls_of("double", model, batch, compiled.evaluate)
    calls |= calls_of("single", single, batch, compiled.evaluate)
    calls["double EFS 1"] = lambda: compiled.evaluate(model, one, training=False)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, float] = {}
    if not options.no_torch:
        calls |= calls_of("torch", model, batch, torch_engine.evaluate)
    others: Calls = {}
    if with_motep and not options.no_motep and find_spec("motep"):
        others, energy = motep_calls(model, atoms)
        calls |= others
        found["energy"] = abs(
            float(compiled.evaluate(model, one, training=False).energy_S[0]) - energy
        )
    times = least_times(calls, options.rounds, clock)
    alone = ("double EFS 1", *others)
    n_atoms = {name: len(atoms) if name in alone else batch.n_atoms for name in times}
    return found | {name: 1e6 * t / n_atoms[name] for name, t in times.items()}


def least_times(calls: Calls, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of one call, all calls in turns."""
    repeats = {}
    for name, call in calls.items():
        call()
        began = clock()
        call()
        repeats[name] = max(1, round(ENOUGH_S / max(clock() - began, 1e-6)))
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            for _ in range(repeats[name]):
                call()
            least[name] = min(least[name], (clock() - began) / repeats[name])
    return least


COLUMNS = {
    "EFS": ("double EFS", None),
    "EFS 1": ("double EFS 1", None),
    "gradient": ("double gradient", None),
    "step": ("double step", None),
    "EFS f32": ("single EFS", None),
    "grad f32": ("single gradient", None),
    "f64/f32": ("double EFS", "single EFS"),
    "f64/f32g": ("double gradient", "single gradient"),
    "torch EFS": ("torch EFS", None),
    "trch step": ("torch step", None),
    "x torch": ("torch step", "double step"),
    "motep EFS": ("motep EFS", None),
    "motep trn": ("motep step", None),
    "x EFS": ("motep EFS", "double EFS"),
    "x EFS 1": ("motep EFS", "double EFS 1"),
    "x gradient": ("motep step", "double gradient"),
    "x step": ("motep step", "double step"),
    "dE eV": ("energy", None),
}
"""Title -> a time, or the ratio of two."""

HEAD = f"{'level':>6}" + "".join(f"{title:>10}" for title in COLUMNS)


def line(level: str, row: dict[str, float]) -> str:
    cells = []
    for upper, lower in COLUMNS.values():
        known = upper in row and (lower is None or lower in row)
        value = row[upper] / (row[lower] if lower else 1.0) if known else None
        cells.append(f"{'-':>10}" if value is None else f"{value:10.3g}")
    return f"{level:>6}" + "".join(cells)


if __name__ == "__main__":
    main()
