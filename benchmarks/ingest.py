"""Reading: this package against ase.io on the same extended XYZ, a whole preparation, and memory.

A file of structures of 64 atoms with forces and stress, written once. One process and one thread
each; CPU time, so that other work on the machine does not count.

    read       the reader of this package, nothing kept
    ase        ase.io.iread of the same file, nothing kept
    prepare    read, filter, edges, split, written to the cache: what a training waits for, without
               Ray; `--workers` processes share the blocks of the file, as Ray's tasks do
    memory     the largest resident memory of a process that prepares the file

    python benchmarks/ingest.py --atoms 1000000 --cutoff 6 --workers 1 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from itertools import repeat
from pathlib import Path

import numpy as np
from ase.build import bulk

from lightpfp_ray.data.inputs import Options
from lightpfp_ray.data.prepare import PARTS, prepare_block
from lightpfp_ray.data.read import Block, blocks_of, read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.data.write import extxyz_of

DISTINCT = 200
"""Structures that differ; the file holds them again and again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=1_000_000)
    parser.add_argument("--cutoff", type=float, default=6.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--without-ase", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ingest-"))
    try:
        path, atoms = written(folder / "a.extxyz", options.atoms)
        size = path.stat().st_size / 2**20
        print(f"{atoms:,} atoms, {size:,.0f} MiB, cutoff {options.cutoff} A")
        print(f"{'':12}{'CPU s':>9}{'wall s':>9}{'atoms/CPU s':>13}{'MiB':>8}")
        report("read", atoms, in_process(read, path))
        if not options.without_ase:
            report("ase", atoms, in_process(read_with_ase, path))
        for workers in options.workers:
            cache = folder / f"cache-{workers}"
            report(f"prepare x{workers}", atoms, prepare(path, cache, options.cutoff, workers))
            shutil.rmtree(cache)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written(path: Path, atoms: int) -> tuple[Path, int]:
    """A file of about so many atoms, and their number."""
    rng = np.random.default_rng(0)
    crystal = bulk("Si", cubic=True).repeat(2)
    texts = []
    for _ in range(DISTINCT):
        structure = Structure(
            numbers=crystal.numbers,
            positions=crystal.positions + 0.1 * rng.normal(size=(64, 3)),
            cell=crystal.cell.array,
            pbc=np.ones(3, bool),
            energy=float(-300 + rng.normal()),
            forces=rng.normal(size=(64, 3)),
            stress=0.01 * rng.normal(size=6),
        )
        texts.append(extxyz_of(structure).encode())
    count = -(-atoms // 64)
    with path.open("wb") as file:
        for n in range(count):
            file.write(texts[n % DISTINCT])
    return path, 64 * count


def read(path: Path) -> None:
    for _ in read_structures(path):
        pass


def read_with_ase(path: Path) -> None:
    from ase.io import iread

    for _ in iread(path, ":"):
        pass


def prepare_some(path: Path, cache: Path, cutoff: float, share: int, workers: int) -> None:
    """A worker's share of the blocks."""
    options = Options(cutoff, 1e38, 1e38, 0, 0.1)
    blocks: list[Block] = blocks_of(path, path.name)
    for n in range(share, len(blocks), workers):
        prepare_block(blocks[n], None, cache, f"{n:06d}", options)


def prepare(path: Path, cache: Path, cutoff: float, workers: int) -> tuple[float, float, float]:
    (cache / PARTS).mkdir(parents=True)
    arguments = [(path, cache, cutoff, share, workers) for share in range(workers)]
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        found = pool.starmap(measured, zip(repeat(prepare_some), arguments), chunksize=1)
    wall = time.perf_counter() - began
    return sum(f[0] for f in found), wall, max(f[2] for f in found)


def in_process(work, *arguments) -> tuple[float, float, float]:
    """CPU s, wall s and MiB of a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (work, arguments))


def measured(work, arguments: tuple) -> tuple[float, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work(*arguments)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.process_time() - cpu, time.perf_counter() - wall, memory


def report(name: str, atoms: int, found: tuple[float, float, float]) -> None:
    cpu, wall, memory = found
    print(f"{name:12}{cpu:9.2f}{wall:9.2f}{atoms / cpu:13,.0f}{memory:8.0f}", flush=True)


if __name__ == "__main__":
    main()
