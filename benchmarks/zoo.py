r"""Makes pretrained models: structures, labels of a teacher, training, weights and cards.

    python benchmarks/zoo.py ALL_ELEMENTS_SMALL_6 --elements Si Ge --small --work /tmp/zoo
    python benchmarks/zoo.py ALL_ELEMENTS_SMALL_6 --work zoo_data --processes 16 \
        --weights lightpfp_ray/zoo/weights --cards docs/zoo

The first is a rehearsal with two elements, in minutes. Every step leaves its files in the work
folder and goes on where it was stopped; models of the same data share structures and labels. The
training is `lightpfp-ray train configs/zoo/NAME.json`. It tells the CPU hours of each step.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.data import atomic_numbers
from zoo_card import write_card
from zoo_here import CPU_S, train_alone

from lightpfp_ray.config import load_control
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.data.write import writing
from lightpfp_ray.files import write_atomically
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.potential import load
from lightpfp_ray.run import Request, run
from lightpfp_ray.teachers import Failure, Teacher, load_teacher
from lightpfp_ray.zoo import compounds as near_rest
from lightpfp_ray.zoo import inorganic, organic
from lightpfp_ray.zoo.coverage import Coverage, coverage
from lightpfp_ray.zoo.disorder import molten, packed
from lightpfp_ray.zoo.models import NAMES
from lightpfp_ray.zoo.prototypes import volume_of
from lightpfp_ray.zoo.publish import publish

ROOT = Path(__file__).resolve().parents[1]

BLOCK = 250
"""Structures of a file of labels."""

TESTED = 20
"""Every so many blocks one is the test set's, and the last one is."""

SMALL, SMALL_COMPOUNDS, SMALL_EPOCHS = 1000, 250, 40
"""Structures, more of compounds, and epochs of the training, of a rehearsal."""


@dataclass(frozen=True)
class Source:
    """What some of the models are trained on."""

    teacher: str
    structures: Callable[[Sequence[str], int, int], Iterator[Structure]]
    elements: tuple[str, ...]  # (): all that the teacher knows
    count: int
    compounds: int = 0  # more structures, near rest

    def counts(self, given: argparse.Namespace) -> tuple[int, int]:
        """Structures and compounds that are asked for."""
        count = given.count or (SMALL if given.small else self.count)
        compounds = SMALL_COMPOUNDS if given.small else self.compounds
        if given.compounds is not None:
            compounds = given.compounds
        return count, compounds if self.compounds else 0


SOURCES = {
    "all": Source("chgnet", inorganic.structures, (), 40_000, compounds=50_000),
    "organic": Source("tblite:GFN2-xTB", organic.structures, organic.ELEMENTS, 6_000),
}


def main() -> None:
    given = _arguments()
    for name in given.names:
        key = "organic" if name.startswith("ORGANIC") else "all"
        source = SOURCES[key]
        teacher = load_teacher(source.teacher)
        symbols = given.elements or source.elements or teacher.elements
        symbols = sorted(symbols, key=atomic_numbers.get)
        count, compounds = source.counts(given)
        folder = given.work / key
        folder.mkdir(parents=True, exist_ok=True)
        structures = made(source, symbols, count, compounds, given.seed, folder)
        if given.melted:
            melt(source.teacher, symbols, given.melted, given.seed, folder)
        failures = labelled(source.teacher, structures, count + compounds, folder, given.processes)
        output, hours = trained(name, given, folder)
        card = write_card(
            name,
            load(output),
            sorted((folder / "test").glob("*.extxyz")),
            teacher,
            {
                "structures": covered(structures).lines(symbols),
                "not_labelled": dict(failures),
                "max_forces": load_control(output / "control.json").common_config.max_forces,
                "epochs": sum(s.epochs for s in load_control(output / "control.json").stages),
                "cpu_hours": {"labels": hours_of(folder), "training": hours},
                "seed": given.seed,
            },
            given.cards or given.work / "cards",
        )
        publish(load(output), given.weights or given.work / "weights", name, card)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME")
    parser.add_argument("--work", type=Path, required=True, help="folder of all that is made")
    parser.add_argument("--weights", type=Path, help="default: WORK/weights")
    parser.add_argument("--cards", type=Path, help="default: WORK/cards")
    parser.add_argument("--elements", nargs="+", help="default: all that the teacher knows")
    parser.add_argument("--count", type=int, help="structures; default: those of the shipped ones")
    parser.add_argument(
        "--compounds", type=int, help="more structures, compounds near rest; default: likewise"
    )
    parser.add_argument("--small", action="store_true", help="few structures, few epochs")
    parser.add_argument("--melted", type=int, default=0, help="short melts by the teacher's MD")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--here", action="store_true", help="train in one process, without Ray")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    return parser.parse_args()


def made(
    source: Source, symbols: Sequence[str], count: int, compounds: int, seed: int, folder: Path
) -> Path:
    """The file of the structures, without labels; the compounds are the last."""
    file = folder / "structures.extxyz"
    if not file.exists():
        with writing(file) as add:
            first = source.structures(symbols, count, seed)
            for structure in chain(first, near_rest.structures(symbols, compounds, seed)):
                add(structure)
    found = covered(file)
    if (there := sum(found.classes.values())) != count + compounds:
        sys.exit(f"{file} holds {there} structures, not {count + compounds}: move it away")
    print("\n".join(found.lines(symbols)), flush=True)
    return file


@cache
def covered(file: Path) -> Coverage:
    """What the structures of a file cover: some CPU seconds, once for all models."""
    return coverage(read_structures(file))


class TeacherCalculator(Calculator):
    """A teacher as ASE drives molecular dynamics."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        (found,) = self.teacher.label([structure_of(self.atoms)])
        if isinstance(found, Failure):
            raise CalculationFailed(found.reason)
        self.results = {"energy": found.energy, "forces": found.forces}


def melt(teacher: str, symbols: Sequence[str], count: int, seed: int, folder: Path) -> None:
    """Packed atoms heated for 0.2 ps at 1,000 to 4,000 K, four moments of each, labelled; one
    process.
    """
    file, rng = folder / "train" / "melted.extxyz", np.random.default_rng([seed, 1])
    if file.exists():
        return
    file.parent.mkdir(exist_ok=True)
    elements, loaded = inorganic.Elements(symbols, rng), _loaded(teacher)
    with writing(file) as add:
        for _ in range(count):
            some = rng.choice(elements.some(3), size=16)
            volume = sum(volume_of(s) for s in some) * rng.uniform(0.95, 1.3)
            atoms = packed(list(some), volume, rng)
            with suppress(CalculationFailed):  # atoms that flew apart
                for moment in molten(
                    atoms,
                    TeacherCalculator(loaded),
                    rng.uniform(1000, 4000),
                    rng,
                    steps=100,
                    every=25,
                ):
                    moment.info["config_type"] = "molten"
                    (found,) = loaded.label([structure_of(moment)])
                    if not isinstance(found, Failure):
                        add(found)


def labelled(
    teacher: str, structures: Path, count: int, folder: Path, processes: int
) -> Counter[str]:
    """Label all structures in blocks, a process each; reasons of those that have no label."""
    for split in ("train", "test"):
        (folder / split).mkdir(exist_ok=True)
    blocks = range(-(-count // BLOCK))
    last = blocks[-1]
    files = {
        k: folder / ("test" if k % TESTED == TESTED - 1 or k == last else "train") / f"{k:05d}"
        for k in blocks
    }
    left = [(k, file) for k, file in files.items() if not file.with_suffix(".json").exists()]
    work = partial(_label_block, teacher, structures)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that are started now
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done, k in enumerate(pool.map(work, left), start=1):
            print(f"labels: block {k}, {len(left) - done} left", flush=True)
    heads = [json.loads(file.with_suffix(".json").read_text()) for file in files.values()]
    failures = sum((Counter(head["failures"]) for head in heads), Counter())
    print(
        f"labels: {sum(h['cpu_s'] for h in heads) / 3600:.2f} CPU hours; not labelled: "
        f"{dict(failures) or 'none'}"
    )
    return failures


def _label_block(teacher: str, structures: Path, block: tuple[int, Path]) -> int:
    """Label one block, and write how that went beside it, last."""
    k, file = block
    began = _cpu_s()
    teacher_ = _loaded(teacher)
    failures: Counter[str] = Counter()
    with writing(file.with_suffix(".extxyz")) as add:
        some = islice(read_structures(structures), k * BLOCK, (k + 1) * BLOCK)
        for structure in some:
            (found,) = teacher_.label([structure])
            if isinstance(found, Failure):
                failures[found.reason] += 1
            else:
                add(found)
    head = {"failures": failures, "cpu_s": _cpu_s() - began}
    write_atomically(file.with_suffix(".json"), json.dumps(head).encode())
    return k


_teachers: dict = {}


def _loaded(name: str):
    """The teacher of this process."""
    if name not in _teachers:
        _teachers[name] = load_teacher(name)
    return _teachers[name]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def hours_of(folder: Path) -> float:
    """CPU hours of all labels."""
    heads = [json.loads(f.read_text()) for f in folder.glob("t*/*.json")]
    return sum(head["cpu_s"] for head in heads) / 3600


def trained(name: str, given: argparse.Namespace, folder: Path) -> tuple[Path, float]:
    """The output folder of the ordinary training, and the hours of its epochs by the workers."""
    few = [f"common_config.total_epoch={SMALL_EPOCHS}"] if given.small else []
    control = load_control(ROOT / f"configs/zoo/{name}.json", [*few, *given.set])
    output = given.work / name
    if given.here:
        train_alone(control, folder, OutputFolder(output), given.work / "cache")
        return output, float((output / CPU_S).read_text()) / 3600
    request = Request(
        data=(str(folder / "train"),),
        test_data=(str(folder / "test"),),
        output=output,
        workers=given.processes,
        cpus_per_worker=1,
        cache=given.work / "cache",
    )
    run(control, request)
    seconds = [json.loads(line).get("seconds", 0.0) for line in (output / "journal.jsonl").open()]
    return output, given.processes * sum(seconds) / 3600


if __name__ == "__main__":
    sys.exit(main())
