r"""Errors of trainings with a control file, beside published ones: MAE and RMSE, train and test.

    python benchmarks/accuracy.py configs/accurate.json --sets Si Ge InP
    python benchmarks/accuracy.py configs/default.json --sets Si --seeds 0 1 2 --set \
        lightpfp_ray.whitening=false

One process and one thread; the way of the structures and the loop are those of `lightpfp-ray
train`. With --held-out the test files are left alone, and a fifth of the training structures is
tested on: for choosing. The data are ../shared/data, the alloy is configs/sample, of which a tenth
is tested on. Published: Zuo et al. 2020 for Si and Ge (MTP of level 24), Cusentino et al. 2020 and
PACE on InP.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from here import cutoff, train_here, written

from lightpfp_ray.config import ControlFile, load_control
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
GPA = 160.21766  # of eV/A^3


@dataclass(frozen=True)
class Files:
    """Training and test file of a set, and what was published of it."""

    train: Path
    test: Path | None
    published: str = ""


DATA = {
    "Si": Files(
        SHARED / "mlearn/Si_train.extxyz",
        SHARED / "mlearn/Si_test.extxyz",
        "test RMSE 3.03 meV/atom, 0.0881 eV/A, 0.67 GPa; MAE 2.31, 0.056",
    ),
    "Ge": Files(
        SHARED / "mlearn/Ge_train.extxyz",
        SHARED / "mlearn/Ge_test.extxyz",
        "test RMSE 3.68 meV/atom, 0.0703 eV/A, 0.50 GPa; MAE 1.79, 0.047",
    ),
    "InP": Files(
        SHARED / "InP/InP_train.extxyz",
        SHARED / "InP/InP_test.extxyz",
        "test MAE of SNAP 3.3 meV/atom, 0.0675 eV/A, of PACE 11.7, 0.0217",
    ),
    "alloy": Files(ROOT / "configs/sample/alloy.extxyz", None),
}


class Journal(list):
    """Records in memory."""

    def position(self) -> int:
        return len(self)

    def truncate(self, position: int) -> None:
        del self[position:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("control", type=Path)
    parser.add_argument("--sets", nargs="+", default=["Si", "Ge", "InP"], choices=DATA)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--held-out", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.control} {' '.join(given.set)}: MAE / RMSE")
    print(f"{'set':6}{'seed':>5}{'':>7}{'E meV/atom':>18}{'F eV/A':>18}{'S GPa':>18}{'CPU s':>8}")
    for name in given.sets:
        for seed in given.seeds:
            overrides = [*given.set, f"lightpfp_ray.seed={seed}"]
            control = load_control(given.control, overrides)
            end, seconds = trained(control, *structures_of(name, given.held_out))
            for split in ("train", "test"):
                cells = "".join(f"{cell:>18}" for cell in errors(end[split]))
                print(f"{name:6}{seed:5d}{split:>7}{cells}{seconds:8.0f}", flush=True)
        print(f"{name:6}     {DATA[name].published}")


def errors(figures: dict[str, float | None]) -> list[str]:
    """MAE / RMSE of energy, forces and stress in the units of the head."""
    found = []
    for label, scale, digits in (("energy", 1e3, 2), ("forces", 1.0, 4), ("stress", GPA, 3)):
        pair = [figures[f"{label}_{kind}"] for kind in ("mae", "rmse")]
        known = pair[0] is not None
        found.append(" / ".join(f"{scale * v:.{digits}f}" for v in pair) if known else "-")
    return found


def structures_of(name: str, held_out: bool) -> tuple[list[Structure], list[Structure]]:
    """Training and test structures."""
    files = DATA[name]
    train = list(read_structures(files.train))
    if files.test and not held_out:
        return train, list(read_structures(files.test))
    order = np.random.default_rng(0).permutation(len(train))
    n_test = len(train) // (5 if files.test else 10)
    return [train[i] for i in order[n_test:]], [train[i] for i in order[:n_test]]


def trained(
    control: ControlFile, train: Sequence[Structure], test: Sequence[Structure]
) -> tuple[dict, float]:
    """The last record of a training, and the CPU seconds that it took from the first edge on."""
    began, journal = time.process_time(), Journal()
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            split: written(Path(folder) / "data", split, found, cutoff(control))
            for split, found in (("train", train), ("test", test))
        }
        train_here(control, sets, Path(folder), journal)
    return journal[-1], time.process_time() - began


if __name__ == "__main__":
    main()
