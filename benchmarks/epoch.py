"""A whole epoch of the training loop on sets of rising size: time, share of the engine, memory.

SMALL basis (levmax 8, costs 2, 1, 1, n_q 8), cutoff 6 A. A set is a few rattled fcc cells with
about 85 neighbors an atom, their edges found once, written again and again as structures of their
own: the set on disk is as large as a real one. Workers are processes of one thread that sum over
gloo; Ray would add about a GiB of its own. Memory is PSS of the workers, in which a page that two
of them map counts once. Times are medians of all epochs but the first.

    python -m benchmarks.epoch --atoms 10000 200000 3000000 --dtypes float32
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from ase.build import bulk

from lightpfp_ray.config.stages import Stage
from lightpfp_ray.data import flat
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.neighbors import search
from lightpfp_ray.data.parts import write_part
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import RadialShape
from lightpfp_ray.training.batches import permutation
from lightpfp_ray.training.loop import Loop
from lightpfp_ray.training.options import Options
from lightpfp_ray.training.plan import Plan
from lightpfp_ray.training.reduction import sum_over_processes
from lightpfp_ray.training.start import new_model

CUTOFF = 6.0
LATTICE = 3.42  # A
CELLS = 3  # of 4 atoms, along each vector: 108 atoms a structure
DISTINCT = 16
BATCH = 128
EPOCHS = 320
STAGE = Stage("stage_1", 2, 1e-3, 1e-3, 1.0, 1e-3, "mse", "None", 1)
TIMED_ATOMS, MOST_TIMED = 2_000_000, 50
"""So many atoms are trained on, in at most so many epochs; where they are fewer than the set has,
one epoch.
"""

POLL_S = 1.0
"""Between two looks at the memory, which take processor time from workers that use all of it."""


def main() -> None:
    options = arguments()
    if options.folder:
        Path(options.folder).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="epoch-", dir=options.folder))
    print(
        f"{'atoms':>9}{'edges':>11}{'dtype':>9}{'workers':>8}{'us/atom':>9}{'CPU us':>8}"
        f"{'epoch s':>9}{'engine':>8}{'draw us/atom':>13}{'open ms':>8}{'PSS GiB':>8}"
        f"{EPOCHS:>6} epochs h"
    )
    try:
        for n_atoms in options.atoms:
            cache = folder / str(n_atoms)
            train = written(cache, n_atoms)
            for dtype in options.dtypes:
                for workers in options.workers:
                    print(row(train, dtype, workers, measured(cache, dtype, workers)), flush=True)
            shutil.rmtree(cache)
    finally:
        shutil.rmtree(folder)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", nargs="+", type=int, default=[10_000, 200_000, 3_000_000])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--folder", help="for the sets: 1 GB for 10^6 atoms")
    return parser.parse_args()


def written(cache: Path, n_atoms: int) -> StructureSet:
    """A cache of about `n_atoms` atoms for training and a few structures for testing."""
    cache.mkdir()
    structures = distinct()
    found = [search(s.positions, s.cell, s.pbc, CUTOFF) for s in structures]
    times = math.ceil(n_atoms / sum(len(s.numbers) for s in structures))
    rng = np.random.default_rng(0)
    sets = {"train": (structures * times, found * times), "test": (structures[:2], found[:2])}
    for split, (some, edges) in sets.items():
        # names that differ, so that equals are spread over the order of the set
        names = (rng.bytes(32).hex() for _ in some)
        part = write_part(cache / f"part-{split}", names, some, edges)
        flat.join(cache / split, [part])
        shutil.rmtree(part)
    return StructureSet.open(cache, "train")


def distinct() -> list[Structure]:
    """Rattled cells with random labels of the size of real ones."""
    rng = np.random.default_rng(0)
    structures = []
    for _ in range(DISTINCT):
        atoms = bulk("Ni", "fcc", a=LATTICE, cubic=True).repeat(CELLS)
        atoms.numbers[rng.random(len(atoms)) < 0.5] = 13
        atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
        n, cell = len(atoms), atoms.cell.array
        labels = -4.0 * n + rng.normal(), rng.normal(size=(n, 3)), 0.01 * rng.normal(size=6)
        structures.append(Structure(atoms.numbers, atoms.positions, cell, atoms.pbc, *labels))
    return structures


@dataclass
class Clock:
    """Seconds inside the engine: evaluations, and the backward pass of the loss."""

    seconds: float = 0.0

    def timed(self, function):
        def call(*args, **kwargs):
            began = time.perf_counter()
            found = function(*args, **kwargs)
            self.seconds += time.perf_counter() - began
            return found

        return call


@dataclass
class Moments:
    """A journal that keeps when an epoch ended: by the clock, of the processor, in the engine."""

    clock: Clock
    epochs: list[np.ndarray] = field(default_factory=list)

    def append(self, record: dict) -> None:
        if record["type"] == "epoch":
            now = (time.perf_counter(), time.process_time(), self.clock.seconds)
            self.epochs.append(np.array(now))

    def position(self) -> int:
        return 0

    def truncate(self, position: int) -> None:
        pass


@dataclass(frozen=True)
class GlooContext:
    """One of the processes of this benchmark."""

    rank: int
    world_size: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def sum_over_workers(self, flat: torch.Tensor) -> torch.Tensor:
        if self.world_size > 1:
            return sum_over_processes(flat)
        return flat


def work(cache: Path, dtype: str, rank: int, workers: int, port: int, results) -> None:
    """A worker: opens the cache, trains some epochs, tells what it saw."""
    torch.set_num_threads(1)
    if workers > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=workers)
    began = time.perf_counter()
    sets = {split: StructureSet.open(cache, split) for split in ("train", "test")}
    opening = time.perf_counter() - began
    context, clock = GlooContext(rank, workers), Clock()
    radial = RadialShape(CUTOFF, 0.99 * sets["train"].min_distance, 8)
    species = sets["train"].numbers_present
    basis = make_basis(Levels(8, 2, 1, 1))
    model = new_model(species, basis, radial, (), sets["train"], context, 0)
    model = model.to(getattr(torch, dtype))
    model.engine = clock.timed(model.engine)
    torch.Tensor.backward = clock.timed(torch.Tensor.backward)
    journal = Moments(clock)
    plan = Plan(
        (stage_of(len(sets["train"].numbers_A)),),
        BATCH,
        0,
        "benchmark",
        cache / "checkpoints",
        1e9,
        Options(starts=1),
    )
    Loop(plan, model, sets, context, journal).run()
    if rank == 0:
        each = np.median(np.diff(journal.epochs, axis=0), axis=0)
        results.put((*each, draw(sets["train"]), opening))


def stage_of(n_atoms: int) -> Stage:
    """One epoch to warm up, and some to be timed: more of a small set, whose noise decides."""
    timed = min(MOST_TIMED, max(1, TIMED_ATOMS // n_atoms))
    return replace(STAGE, epochs=1 + timed)


def draw(structures: StructureSet) -> float:
    """Seconds an atom of drawing all batches of an epoch, and nothing else."""
    order = permutation(len(structures), 0, 1)
    began = time.perf_counter()
    atoms = sum(
        structures.batch(order[start : start + BATCH]).n_atoms
        for start in range(0, len(order), BATCH)
    )
    return (time.perf_counter() - began) / atoms


def measured(cache: Path, dtype: str, workers: int) -> tuple[float, ...]:
    """What rank 0 tells, and the largest PSS of all workers together in bytes."""
    spawn = multiprocessing.get_context("spawn")
    results, port = spawn.Queue(), free_port()
    processes = [
        spawn.Process(target=work, args=(cache, dtype, rank, workers, port, results))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    peak = 0
    while any(process.is_alive() for process in processes):
        peak = max(peak, sum(pss(process.pid) for process in processes))
        time.sleep(POLL_S)
    shutil.rmtree(cache / "checkpoints", ignore_errors=True)
    if any(process.exitcode for process in processes):
        raise SystemExit("a worker failed")
    return (*results.get(), peak)


def pss(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_full_info().pss
    except psutil.Error:
        return 0  # ended


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def row(train: StructureSet, dtype: str, workers: int, found: tuple[float, ...]) -> str:
    seconds, cpu, engine, drawing, opening, peak = found
    n_atoms, n_edges = len(train.numbers_A), len(train.neighbors_E)
    return (
        f"{n_atoms:9d}{n_edges:11d}{dtype:>9}{workers:8d}{1e6 * seconds / n_atoms:9.2f}"
        f"{1e6 * cpu * workers / n_atoms:8.2f}{seconds:9.2f}{engine / seconds:8.1%}"
        f"{1e6 * drawing:13.4f}{1e3 * opening:8.1f}"
        f"{peak / 2**30:8.2f}{EPOCHS * seconds / 3600:14.2f}"
    )


if __name__ == "__main__":
    main()
