"""Reading and preparation: this package against ase.io on the same extended XYZ; workers; memory.

A file of rattled crystals (64 atoms of Si: 28 edges an atom at 5 A, 43 at 6 A; 108 of Cu: 78 at
6 A) with forces and stress, written once. One table:

    ase          ase.io.iread of the file, nothing kept
    read         the reader of this package, nothing kept
    prepare      all that makes a cache, in one process without Ray: hash of the file, blocks, read,
                 filter, edges, split, parts, sets
    ray x1, x2   the same as a training does it, by Ray Data with so many CPUs, from the call to the
                 cache under its name; the workers and what Ray Data itself starts run before. Wall
                 time alone counts, the CPU time is the driver's
    again        a second start in a new process, from the first import to structures ready for a
                 training, beside Ray's own start: the file hashed, the cache found and mapped, the
                 findings of the doctor's short check read

Each in a process of its own, with one thread. CPU s do not count what else runs on the machine, and
are compared with ASE's; wall s of `ray` and `again` need a quiet machine with a core for each
worker and one for the driver. MiB: the largest resident memory of the process; of `ray` that of the
largest task, looked at five times a second.

    python benchmarks/ingest.py --atoms 1000000 --crystal Cu --cutoff 6 --workers 1 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import psutil
from ase.build import bulk

from lightpfp_ray.data.structure import Structure
from lightpfp_ray.data.write import extxyz_of

DISTINCT = 200
"""Structures that differ; the file holds them again and again."""

REPEATS = {"Si": 2, "Cu": 3}
"""Crystal -> repeats of its cubic cell."""

SETTLE_S = 5
"""In which Ray Data's own actors and the later ones of the workers have been started."""

SETTINGS = {"max_energy": 1e38, "max_forces": 1e38, "seed": 0, "test_fraction": 0.1}


@dataclass(frozen=True)
class Cost:
    cpu: float  # s
    wall: float  # s
    memory: float  # MiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=1_000_000)
    parser.add_argument("--crystal", choices=REPEATS, default="Si")
    parser.add_argument("--cutoff", type=float, default=6.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--without-ase", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="ingest-"))
    try:
        path, atoms = written(folder / "a.extxyz", options.crystal, options.atoms)
        size = path.stat().st_size / 2**20
        print(f"{options.crystal}, {atoms:,} atoms, {size:,.0f} MiB, cutoff {options.cutoff} A")
        print(f"{'':10}{'CPU s':>8}{'wall s':>8}{'atoms/CPU s':>13}{'of ASE':>8}{'MiB':>7}")
        measure(path, atoms, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(path: Path, atoms: int, folder: Path, options: argparse.Namespace) -> None:
    ase = None
    if not options.without_ase:
        ase = in_process(read_with_ase, path)
        report("ase", atoms, ase, ase)
    report("read", atoms, in_process(read, path), ase)
    cost = in_process(prepare, path, folder / "alone", options.cutoff)
    report("prepare", atoms, cost, ase)
    n_edges = count_of_edges(folder / "alone")
    shutil.rmtree(folder / "alone")
    first = None
    for workers in options.workers:
        cache = folder / f"cache-{workers}"
        wall, memory = apart(prepare_with_ray, path, cache, options.cutoff, workers)
        ratio = "" if first is None else f"{first / wall:8.2f} times as fast as the first"
        print(f"ray x{workers:<5}{'':8}{wall:8.2f}{'':21}{memory:7.0f}{ratio}", flush=True)
        first = first or wall
    if options.workers:
        of_ray, rest = apart(start_again, path, cache, options.cutoff)
        print(f"{'again':10}{'':8}{rest:8.2f}  beyond {of_ray:.2f} s of Ray's own start")
    print(f"{n_edges / atoms:.1f} edges an atom")


def written(path: Path, crystal: str, atoms: int) -> tuple[Path, int]:
    """A file of about so many atoms, and their number."""
    rng = np.random.default_rng(0)
    cell = bulk(crystal, cubic=True).repeat(REPEATS[crystal])
    size, texts = len(cell), []
    for _ in range(DISTINCT):
        structure = Structure(
            numbers=cell.numbers,
            positions=cell.positions + 0.1 * rng.normal(size=(size, 3)),
            cell=cell.cell.array,
            pbc=np.ones(3, bool),
            energy=float(-4.7 * size + rng.normal()),
            forces=rng.normal(size=(size, 3)),
            stress=0.01 * rng.normal(size=6),
        )
        texts.append(extxyz_of(structure).encode())
    count = -(-atoms // size)
    with path.open("wb") as file:
        for n in range(count):
            file.write(texts[n % DISTINCT])
    return path, size * count


def read_with_ase(path: Path) -> None:
    from ase.io import iread

    for _ in iread(path, ":"):
        pass


def read(path: Path) -> None:
    from lightpfp_ray.data.read import read_structures

    for _ in read_structures(path):
        pass


def prepare(path: Path, cache: Path, cutoff: float) -> None:
    """What `cluster.dataset.prepare` does, one block after the other."""
    from lightpfp_ray.data.inputs import Options, inputs_of
    from lightpfp_ray.data.place import Places
    from lightpfp_ray.data.prepare import PARTS, gather, prepare_block
    from lightpfp_ray.data.read import blocks_of

    options = Options(cutoff, **SETTINGS)
    (cache / PARTS).mkdir(parents=True)
    files, skipped = inputs_of([str(path)], []), []
    blocks = {f"{number:06d}": block for number, block in enumerate(blocks_of(path, path.name))}
    places = Places([(cache, name) for name in blocks], both=True)
    for number, (name, block) in enumerate(blocks.items()):
        skipped += prepare_block(block, None, cache, name, options)
        places.add(number)
    gather(cache, files, options, skipped)


def count_of_edges(cache: Path) -> int:
    from lightpfp_ray.data import flat, schema

    return sum(len(flat.opened(cache / s).arrays["neighbors"]) for s in schema.SPLITS)


def prepare_with_ray(path: Path, cache: Path, cutoff: float, workers: int) -> tuple[float, float]:
    """Wall s, of a Ray whose workers run already, and MiB; then what else a first start leaves."""
    import ray

    from lightpfp_ray.cluster.dataset import prepare
    from lightpfp_ray.doctor.kept import kept_brief
    from lightpfp_ray.preflight import opened_sets

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    small = [written(path.parent / f"{n}.extxyz", "Cu", 1000)[0] for n in range(2 * workers)]
    prepare(list(map(str, small)), [], cutoff=cutoff, cache_root=cache, **SETTINGS)
    time.sleep(SETTLE_S)
    with ThreadPoolExecutor() as beside:
        done = Event()
        memory = beside.submit(largest_task, done)
        began = time.perf_counter()
        manifest = prepare([str(path)], [], cutoff=cutoff, cache_root=cache, **SETTINGS)
        wall = time.perf_counter() - began
        done.set()
    ray.shutdown()
    kept_brief(manifest, opened_sets(manifest)["train"])
    return wall, memory.result()


def largest_task(done: Event) -> float:
    """MiB of the largest process of Ray that has a task of Ray Data, until it is done."""
    found = 0
    while not done.wait(0.2):
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.name().startswith("ray::FlatMap"):
                    found = max(found, process.memory_info().rss)
    return found / 2**20


def start_again(path: Path, cache: Path, cutoff: float) -> tuple[float, float]:
    """s of Ray's start with its import, and of all else until the structures are at hand."""
    began = time.perf_counter()
    from lightpfp_ray.cluster.session import ray_session

    with ray_session("local", verbose=False):
        of_ray = time.perf_counter() - began
        from lightpfp_ray.cluster.dataset import prepare
        from lightpfp_ray.doctor.kept import kept_brief
        from lightpfp_ray.preflight import opened_sets

        manifest = prepare([str(path)], [], cutoff=cutoff, cache_root=cache, **SETTINGS)
        assert manifest.reused
        sets = opened_sets(manifest)
        kept_brief(manifest, sets["train"])
        return of_ray, time.perf_counter() - began - of_ray


def apart(work, *arguments):
    """What a function gives, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def in_process(work, *arguments) -> Cost:
    return apart(measured, work, arguments)


def measured(work, arguments: tuple) -> Cost:
    """The function is first done with a small file, so that no import counts."""
    with tempfile.TemporaryDirectory() as folder:
        small = written(Path(folder) / "a.extxyz", "Cu", 1000)[0]
        work(small, *([Path(folder) / "cache", *arguments[2:]] if arguments[1:] else []))
    cpu, wall = time.process_time(), time.perf_counter()
    work(*arguments)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(time.process_time() - cpu, time.perf_counter() - wall, memory)


def report(name: str, atoms: int, cost: Cost, ase: Cost | None) -> None:
    ratio = ase.cpu / cost.cpu if ase else np.nan
    print(
        f"{name:10}{cost.cpu:8.2f}{cost.wall:8.2f}{atoms / cost.cpu:13,.0f}{ratio:8.2f}"
        f"{cost.memory:7.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
