r"""What a pretrained model is worth: test errors with few training structures, from it and from
scratch with the same basis, and those of the pretrained model itself.

    python benchmarks/finetune.py ALL_ELEMENTS_SMALL_6 --sets Si Ge InP --sizes 20 50 200
    python benchmarks/finetune.py ALL_ELEMENTS_SMALL_6 --files train.extxyz test.extxyz

The zero-shot row has E0 of least squares on the training structures, and nothing else of them. The
structures are drawn anew for each seed, the test files are those of `accuracy.py`. One process, one
thread. The stages are those of a control file (default: those of LightPFP).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from accuracy import DATA, structures_of, trained
from here import written

from lightpfp_ray.config import ControlFile, load_control
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.evaluation import Blocks, evaluate
from lightpfp_ray.mtp.levels import Levels
from lightpfp_ray.potential import cutoff_of, load, load_for
from lightpfp_ray.training.batches import WeightedSet
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.linear import solve_reference_energies

ROOT = Path(__file__).resolve().parents[1]

BASES = {"SMALL": Levels(8, 2, 1, 1), "LARGE": Levels(16, 2, 4, 1), "ORGANIC": Levels(8, 2, 1, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a pretrained model, or the path of a potential")
    parser.add_argument("--sets", nargs="+", default=["Si", "Ge", "InP"], choices=DATA)
    parser.add_argument("--files", nargs=2, type=Path, help="training and test file, not --sets")
    parser.add_argument("--sizes", nargs="+", type=int, default=[20, 50, 200])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--control", type=Path, default=ROOT / "configs/default.json")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--only", nargs="+", default=["zero-shot", "zoo", "scratch"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{given.name} {' '.join(given.set)}: test MAE, mean over {len(given.seeds)} seeds")
    print(
        f"{'set':6}{'size':>6}  {'from':10}{'E meV/atom':>12}{'F meV/A':>10}{'CPU s':>8}  F by seed"
    )
    for name, train, test in _sets(given):
        for size in given.sizes:
            for kind in given.only:
                rows = [
                    _figures(kind, given, _drawn(train, size, seed), test, seed)
                    for seed in given.seeds
                ]
                energy, forces, seconds = np.mean(rows, axis=0)
                each = " ".join(f"{1e3 * forces:.1f}" for _, forces, _ in rows)
                row = f"{1e3 * energy:12.2f}{1e3 * forces:10.1f}{seconds:8.1f}  {each}"
                print(f"{name:6}{size:6d}  {kind:10}{row}", flush=True)


def _sets(
    given: argparse.Namespace,
) -> Iterator[tuple[str, list[Structure], list[Structure]]]:
    """Name, training and test structures."""
    if given.files:
        train, test = (list(read_structures(file)) for file in given.files)
        yield given.files[0].stem[:6], train, test
        return
    for name in given.sets:
        yield name, *structures_of(name, held_out=False)


def _drawn(train: Sequence[Structure], size: int, seed: int) -> list[Structure]:
    """Some training structures, at random, that hold each of the elements."""
    order = np.random.default_rng([seed, size]).permutation(len(train))
    return [train[i] for i in order[:size]]


def _figures(
    kind: str,
    given: argparse.Namespace,
    train: Sequence[Structure],
    test: Sequence[Structure],
    seed: int,
) -> tuple[float, float, float]:
    """MAE of energy (eV/atom) and forces (eV/A) of the test set, and CPU seconds."""
    if kind == "zero-shot":
        return *_zero_shot(given.name, train, test), 0.0
    control = _control(given, kind, seed)
    end, seconds = trained(control, train, test)
    return end["test"]["energy_mae"], end["test"]["forces_mae"], seconds


def _control(given: argparse.Namespace, kind: str, seed: int) -> ControlFile:
    if kind == "zoo":
        chosen = [f"mtp_config.pretrained_model={given.name}"]
    else:
        model = load(given.name).model
        levels = next((v for k, v in BASES.items() if k in given.name), BASES["SMALL"])
        chosen = [
            f"mtp_config.rc={model.cutoff}",
            f"mtp_config.n_q={model.radial.n_q}",
            f"mtp_config.levmax={levels.levmax}",
            f"mtp_config.moment_mu_cost={levels.mu_cost}",
            f"mtp_config.nn_dim_list={list(model.widths)}",
        ]
    return load_control(given.control, [*chosen, f"lightpfp_ray.seed={seed}", *given.set])


def _zero_shot(
    name: str, train: Sequence[Structure], test: Sequence[Structure]
) -> tuple[float, float]:
    import tempfile

    species = sorted({int(z) for s in train for z in s.numbers})
    model = load_for(name, species).double()
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            split: written(Path(folder) / "data", split, some, cutoff_of(name))
            for split, some in (("train", train), ("test", test))
        }
        solve_reference_energies(model, WeightedSet.of(sets["train"], {}), LocalContext())
        found = evaluate(model, Blocks(sets["test"]))
    return found["energy_mae"], found["forces_mae"]


if __name__ == "__main__":
    main()
