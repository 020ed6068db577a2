"""Files that are damaged in a thousand ways: each is refused in a line, or its structures counted.

The damaged files of `damage.py` go the way of a training (blocks, reading, filter, edges, rows on
disk) and of the doctor's survey, in a process of its own that is ended where it hangs.

    python benchmarks/fuzz.py --cases 1000
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from damage import FORMATS, damaged, samples

TIMEOUT_S = 60
CHUNK = 50
"""Cases of one process; fewer where one of them ends it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        clean = samples(folder / "clean")
        outcomes, memory, slowest = run(clean, folder, options.cases, options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell(outcomes, memory, slowest)


def run(clean: Path, folder: Path, cases: int, seed: int) -> tuple[list[dict], float, float]:
    """Outcomes of all cases, the largest memory of a process (MiB), the longest case (s)."""
    outcomes: list[dict] = []
    memory = 0.0
    first = seed * cases
    while len(outcomes) < cases:
        start = first + len(outcomes)
        stop = min(start + CHUNK, first + cases)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(theirs, clean, folder / f"chunk-{start}", start, stop)
        )
        process.start()
        theirs.close()
        found = collected(ours, stop - start)
        process.kill()
        process.join()
        if len(found) < stop - start:
            case = start + len(found)
            found.append({"case": case, "outcome": "hang or crash", "text": str(process.exitcode)})
        memory = max([memory, *(f.get("memory", 0.0) for f in found)])
        outcomes += found
        shutil.rmtree(folder / f"chunk-{start}", ignore_errors=True)
        print(f"\r{len(outcomes)} of {cases}", end="", flush=True)
    print()
    return outcomes, memory, max(f.get("seconds", 0.0) for f in outcomes)


def collected(ours: Connection, count: int) -> list[dict]:
    """What the process says, until it is done, ends or hangs."""
    found = []
    try:
        while len(found) < count and ours.poll(TIMEOUT_S):
            found.append(ours.recv())
    except EOFError:
        pass
    return found


def work(theirs: Connection, clean: Path, folder: Path, start: int, stop: int) -> None:
    """Some cases one after the other; runs in a process of its own."""
    for case in range(start, stop):
        path = damaged(clean, folder, case)
        began = time.perf_counter()
        outcome = outcome_of(path)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs.send(
            outcome
            | {"case": case, "file": f"{path.parent.name}/{path.name}", "memory": memory}
            | {"seconds": time.perf_counter() - began}
        )


def outcome_of(path: Path) -> dict:
    """How a training and the doctor take a file."""
    from lightpfp_ray.errors import UserError

    try:
        text = control(path) if path.name == "control.json" else prepared(path)
        return {"outcome": "taken", "text": text}
    except UserError as error:
        lines = str(error).splitlines()
        long = path.name != "control.json" and len(lines) != 1
        return {"outcome": "several lines" if long else "refused", "text": lines[0]}
    except BaseException:
        return {"outcome": "traceback", "text": traceback.format_exc()}


def control(path: Path) -> str:
    from lightpfp_ray.config import load_control

    return f"{len(load_control(path).stages)} stages"


def prepared(path: Path) -> str:
    from lightpfp_ray.data.inputs import Options
    from lightpfp_ray.data.prepare import PARTS, prepare_block
    from lightpfp_ray.data.read import blocks_of, read_as_written
    from lightpfp_ray.doctor.survey import survey

    cache = path.parent / "cache"
    (cache / PARTS).mkdir(parents=True)
    options = Options(5.0, 1e38, 1e38, 0, 0.1)
    skipped = 0
    blocks = blocks_of(path, path.name, size=4)
    for n, block in enumerate(blocks):
        skipped += len(prepare_block(block, None, cache, str(n), options))
    seen = survey(s for block in blocks for s in read_as_written(block))
    return f"{len(seen)} kept, {skipped} skipped"


def tell(outcomes: list[dict], memory: float, slowest: float) -> None:
    """The table, and what went wrong."""
    counts = Counter(o["outcome"] for o in outcomes)
    kinds = Counter((o.get("file", "?").split("/")[-1], o["outcome"]) for o in outcomes)
    for name in FORMATS:
        row = ", ".join(f"{n} {o}" for (f, o), n in sorted(kinds.items()) if f == name)
        print(f"{name:14} {row}")
    for bad in ("traceback", "several lines", "hang or crash"):
        for outcome in [o for o in outcomes if o["outcome"] == bad][:5]:
            print(f"--- {bad}: case {outcome['case']} {outcome.get('file')}\n{outcome['text']}")
    print(
        f"{len(outcomes)} cases: {dict(counts)}; longest {slowest:.1f} s, most memory "
        f"{memory:.0f} MiB"
    )


if __name__ == "__main__":
    main()
