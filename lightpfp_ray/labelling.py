"""A labelling from beginning to end: check, cut, label, gather, tell.

Beside OUT stand OUT.json (whose labels they are, of which files) and, if any were skipped,
OUT.skipped.csv. What is labelled lies in a hidden folder beside it until all is done: the same
command goes on with it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from .cluster.session import Resources, ray_session, resources, slots
from .data import read, schema
from .data.inputs import Input, hashes, inputs_of
from .data.keys import Keys
from .data.write import format_of, writing
from .errors import UserError
from .files import write_atomically
from .progress import INTERVAL_S, duration
from .teachers import Failure, Teacher, load_teacher
from .teachers.chunks import CHUNK_ATOMS, Chunk, chunks_of, forget_deaths, read_part

REASONS_SHOWN = 5


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    teacher: str
    inputs: tuple[str, ...]
    output: Path
    workers: int | None = None  # None: one for each processor of the cluster
    key: tuple[str, ...] = ()
    overwrite: bool = False
    address: str | None = None
    wait_for_nodes: float = 0.0
    verbose: bool = False


@dataclass(frozen=True)
class Place:
    """What a labelling writes."""

    output: Path

    @property
    def record(self) -> Path:
        """Written last: a labelling with a record is finished."""
        return self.output.with_name(f"{self.output.name}.json")

    @property
    def skipped(self) -> Path:
        return self.output.with_name(f"{self.output.name}.skipped.csv")

    @property
    def parts(self) -> Path:
        return self.output.with_name(f".{self.output.name}.parts")

    @property
    def plan(self) -> Path:
        """Of which labelling the parts are."""
        return self.parts / "plan.json"


def label(request: Request) -> None:
    """Label as asked and tell how it went. Raises UserError."""
    place, keys = Place(request.output.resolve()), Keys.of(request.key)
    files = inputs_of(request.inputs, ())
    format_of(place.output)
    if place.output in (file.path for file in files):
        raise UserError(f"{request.output} is also read: give another name")
    teacher = load_teacher(request.teacher)
    plan = _plan(teacher, files, keys)
    if place.output.exists() and _same(place.record, plan):
        click.echo(f"{request.output} is finished: the labels of {teacher.title}")
        return
    chunks = chunks_of([file.path for file in files], keys)
    _begin(place, plan, request.overwrite)
    left = [chunk for chunk in chunks if not chunk.part(place.parts).exists()]
    click.echo(_plan_line(teacher, chunks, left))
    if left:
        forget_deaths(place.parts)
        _label(left, request, place.parts)
    _gather(chunks, place, plan, teacher)


def _plan(teacher: Teacher, files: Sequence[Input], keys: Keys) -> dict[str, Any]:
    """What decides the labels: the teacher; the content and order of the files, how they are read
    and cut.
    """
    versions = [read.VERSION, schema.VERSION, CHUNK_ATOMS]
    key = json.dumps([[(file.path.name, file.sha256) for file in files], asdict(keys), versions])
    return {
        "teacher": teacher.name,
        "version": teacher.version,
        "licence": teacher.licence,
        "files": hashes(files),
        "fingerprint": hashlib.sha256(key.encode()).hexdigest(),
    }


def _same(file: Path, plan: dict[str, Any]) -> bool:
    """Whether a plan or a record is of the same labelling; the files may have been moved."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return False
    return all(found.get(key) == plan[key] for key in ("teacher", "version", "fingerprint"))


def _begin(place: Place, plan: dict[str, Any], overwrite: bool) -> None:
    """Make the folder of the parts, or find that of the same labelling. Raises UserError for what
    is there of another.
    """
    if _same(place.plan, plan):
        return
    there = next((path for path in (place.output, place.plan) if path.exists()), None)
    if there and not overwrite:
        what = "labels" if there == place.output else "the begun labels"
        raise UserError(
            f"{there} holds {what} of other structures, or of another teacher or version: give "
            "another name, or --overwrite"
        )
    shutil.rmtree(place.parts, ignore_errors=True)
    try:
        place.parts.mkdir()
        write_atomically(place.plan, json.dumps(plan, indent=1).encode())
    except OSError as error:
        raise UserError(f"{place.parts} cannot be written ({error.strerror})") from None


def _plan_line(teacher: Teacher, chunks: Sequence[Chunk], left: Sequence[Chunk]) -> str:
    total, waiting = (sum(chunk.count for chunk in some) for some in (chunks, left))
    atoms = sum(chunk.atoms for chunk in left)
    before = f", {total - waiting} of them before" if waiting < total else ""
    return f"{total} structures by {teacher.title}{before}; {atoms} atoms to do"


def _label(left: Sequence[Chunk], request: Request, parts: Path) -> None:
    """Label the chunks on Ray, with a line of progress now and then."""
    with ray_session(request.address, request.verbose) as session:
        from .cluster.label import label as labelled
        from .cluster.storage import refuse_unshared

        workers = request.workers or slots(Resources(1, 1, "cpu"))
        resources(workers, 1, "cpu", session.local, request.wait_for_nodes)
        refuse_unshared(parts)
        workers = min(workers, len(left))
        done = labelled(left, request.teacher, Path.cwd(), parts, workers)
        for line in _progress(done, left):
            click.echo(line)


def _progress(done: Iterator[tuple[Chunk, int]], left: Sequence[Chunk]) -> Iterator[str]:
    """A line each time that INTERVAL_S has passed, with the time left at the pace so far."""
    structures, atoms = (sum(getattr(c, name) for c in left) for name in ("count", "atoms"))
    done_structures = done_atoms = failures = 0
    began = shown = time.monotonic()
    for chunk, failed in done:
        done_structures += chunk.count
        done_atoms += chunk.atoms
        failures += failed
        now = time.monotonic()
        if now - shown >= INTERVAL_S:
            shown = now
            seconds_left = (now - began) / max(done_atoms, 1) * (atoms - done_atoms)
            yield (
                f"{done_structures:7d} of {structures} structures, {failures} skipped, "
                f"{duration(seconds_left)} left"
            )


def _gather(chunks: Sequence[Chunk], place: Place, plan: dict[str, Any], teacher: Teacher) -> None:
    """The parts in their order as one file, and what it is told by."""
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    with writing(place.output) as add:
        for chunk in chunks:
            structures, failed = read_part(chunk.part(place.parts))
            failures += failed
            for structure in structures:
                add(structure)
                counts["structures"] += 1
                counts["atoms"] += len(structure.numbers)
                counts["with_stress"] += structure.stress is not None
        if not counts["structures"]:
            shutil.rmtree(place.parts)
            raise UserError(
                f"{teacher.title} could label none of {len(failures)} structures: "
                f"{_told(failures)}: give others, or another teacher"
            )
        _write_skipped(place.skipped, failures)
    skipped = dict(Counter(failure.reason for failure in failures).most_common())
    record = {**plan, **counts, "skipped": skipped}
    write_atomically(place.record, (json.dumps(record, indent=2) + "\n").encode())
    shutil.rmtree(place.parts)
    click.echo(
        f"wrote {counts['structures']} structures ({counts['atoms']} atoms) with energy and forces "
        f"of {teacher.title}, {counts['with_stress']} with stress, to {place.output}"
    )
    if failures:
        click.echo(f"skipped {len(failures)} ({_told(failures)}): {place.skipped}")


def _write_skipped(path: Path, failures: Sequence[Failure]) -> None:
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    rows = [(failure.source, failure.reason) for failure in failures]
    csv.writer(text).writerows([("source", "reason"), *rows])
    write_atomically(path, text.getvalue().encode())


def _told(failures: Sequence[Failure]) -> str:
    """Reasons with their counts, the most frequent first."""
    counts = Counter(failure.reason for failure in failures).most_common()
    shown = [f"{count}: {reason}" for reason, count in counts[:REASONS_SHOWN]]
    return "; ".join([*shown, *(["..."] if len(counts) > REASONS_SHOWN else [])])
