"""Our loss and the reference code's: the same basis, data and weights, and the CPU time of each.

The reference code (MLIP-3) minimizes, over structures of N atoms and volume V,

    1/S sum_S [ d_E^2 / N + 0.01 sum |d_F|^2 + 0.001 V^2 / N sum of 9 components of d_stress^2 ]

A structure's weights give this loss here, but for the stress, of which ours counts 6 components:
each structure stands twice, the second time with its off-diagonal stress alone. Levels 8 and 12
with costs 2, 4, 1; cutoff 5 A, n_q 8, optimizer varpro. The reference's loss is that of the
potentials that it ended with, by the same function, its CPU seconds are those of
../shared/reference/BASELINES.md.

    python benchmarks/reference_loss.py --sets Si Ge --levels 8 12
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accuracy import DATA, SHARED
from here import written

from lightpfp_ray.batch import Batch
from lightpfp_ray.config.stages import Stage
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape
from lightpfp_ray.potential import load
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loop import Loop
from lightpfp_ray.training.loss import residuals
from lightpfp_ray.training.options import Options
from lightpfp_ray.training.plan import Plan
from lightpfp_ray.training.start import new_model

CUTOFF, N_Q = 5.0, 8
FACTORS = np.array([1.0, 0.01, 0.001])  # of energy, forces, stress
REFERENCE = {
    ("Si", 8): ("Si_L08", 421),
    ("Si", 12): ("Si_L12c", 648 + 421),
    ("Ge", 8): ("Ge_L08", 396),
    ("Ge", 12): ("Ge_L12", 628),
}
"""Potential that it ended with, and CPU seconds."""

POTENTIALS = SHARED.parent / "reference" / "baselines"


@dataclass
class Losses:
    """A journal that keeps what an epoch reached, and when."""

    began: float

    def __post_init__(self) -> None:
        self.found: list[tuple[float, float]] = []  # CPU seconds, loss of the training

    def append(self, record: dict) -> None:
        if record["type"] == "epoch":
            self.found.append((time.process_time() - self.began, record["train"]["loss"]))

    def position(self) -> int:
        return len(self.found)

    def truncate(self, position: int) -> None:
        del self.found[position:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["Si", "Ge"], choices=["Si", "Ge"])
    parser.add_argument("--levels", nargs="+", type=int, default=[8, 12], choices=[8, 12])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'set':4}{'level':>6}{'reference':>12}{'CPU s':>7}{'ours':>12}{'CPU s':>8}", end="")
    print(f"{'reached it in':>16}{'epochs':>8}")
    for name in given.sets:
        for level in given.levels:
            print(row(name, level, given.seed, given.epochs), flush=True)


def row(name: str, level: int, seed: int, epochs: int) -> str:
    structures = list(read_structures(DATA[name].train))
    weights, coefficients = of_reference(structures)
    doubled = [
        *(replace(s, group=str(i)) for i, s in enumerate(structures)),
        *(replace(off_diagonal(s), group=str(i)) for i, s in enumerate(structures)),
    ]
    stage = Stage("all", epochs, 1.0, *coefficients, "mse", "None", 1, optimizer="varpro")
    options = Options(group_weights=weights)
    context = LocalContext()
    with tempfile.TemporaryDirectory() as folder:
        train = written(Path(folder) / "data", "train", doubled, CUTOFF)
        test = written(Path(folder) / "data", "test", [], CUTOFF)
        plan = Plan((stage,), 32, seed, "", Path(folder) / "checkpoints", 1e9, options)
        began = time.process_time()
        radial = RadialShape(CUTOFF, 0.99 * train.min_distance, N_Q)
        basis = make_basis(Levels(level, 2, 4, 1))
        model = new_model(train.numbers_present, basis, radial, (), train, context, seed)
        journal = Losses(began)
        model = Loop(plan, model, {"train": train, "test": test}, context, journal).run()
        spent = time.process_time() - began
        ours = reference_loss(model, train, len(structures))
        file, seconds = REFERENCE[name, level]
        theirs = load(POTENTIALS / f"{file}.almtp", train.numbers_present).model
        goal = reference_loss(theirs, train, len(structures))
    reached = next((f"{t:.1f} s" for t, loss in journal.found if loss <= goal), "not")
    return (
        f"{name:4}{level:6d}{goal:12.7f}{seconds:7.0f}{ours:12.7f}{spent:8.1f}{reached:>16}"
        f"{len(journal.found):8d}"
    )


def of_reference(structures: Sequence[Structure]) -> tuple[dict[str, list[float]], list[float]]:
    """Weights by group, a group being one structure, and coefficients that make our loss theirs."""
    weights, totals = {}, np.zeros(3)
    for i, s in enumerate(structures):
        n, volume = len(s.numbers), abs(np.linalg.det(s.cell))
        weights[str(i)] = [float(n), 1.0, volume**2 / n]
        totals += np.array(weights[str(i)]) * [1, 3 * n, 2 * 6]
    return weights, (totals / len(structures) * FACTORS).tolist()


def off_diagonal(structure: Structure) -> Structure:
    """Nothing of a structure but three components of its stress."""
    stress = np.where(np.arange(6) < 3, np.nan, structure.stress)
    return replace(structure, energy=None, forces=None, stress=stress)


def reference_loss(model: MTP, doubled: StructureSet, n_structures: int) -> float:
    """The equation above, of the labels themselves."""
    total = 0.0
    for start in range(0, len(doubled), 32):
        batch: Batch = doubled.batch(range(start, min(start + 32, len(doubled))))
        d_E, d_F, d_S = (d.detach() for d in residuals(model(batch), batch))
        atoms_S = batch.atoms_S.double()
        total += float((d_E**2 * atoms_S).sum() + 0.01 * (d_F**2).sum())
        total += float((0.001 * (d_S**2).sum(1) * batch.volume_S**2 / atoms_S).sum())
    return total / n_structures


if __name__ == "__main__":
    main()
