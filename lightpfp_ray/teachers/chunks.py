"""A labelling cut in chunks of about the same cost: what each of them reads, and the part on disk
that it leaves.

A part appears whole, by a rename, and is what its chunk alone decides: a labelling that was stopped
has some of the parts, and the others make the same whole of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ..data.keys import Keys
from ..data.read import Block, blocks_of, labels_of, read_as_written
from ..data.schema import rows_of, structures_of
from ..data.structure import Structure
from ..files import write_atomically
from .teacher import Failure, Teacher

CHUNK_ATOMS = 500
"""A chunk ends with the structure that brings it to so many atoms: some seconds of a teacher's
work, which is what a kill costs each worker.
"""

DEATHS = 2
"""Of a process in one structure within a command, until the structure is left out: Ray begins a
task anew as often as its process dies.
"""

UNDER_WAY = ".under_way.json"
"""Suffix of the note of a chunk that is being labelled."""

FAILURES = b"lightpfp_ray.failures"
"""Key of the JSON in the metadata of a part."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive structures of a block of a file."""

    name: str  # of its part; in the order of the structures
    block: Block
    first: int  # in the block
    count: int
    atoms: int

    def part(self, folder: Path) -> Path:
        return folder / f"{self.name}.arrow"

    def structures(self) -> Iterator[Structure]:
        return islice(read_as_written(self.block), self.first, self.first + self.count)


def chunks_of(paths: Sequence[Path], keys: Keys) -> list[Chunk]:
    """All structures of the files, in their order. Raises UserError where one cannot be read."""
    labels = labels_of(paths)
    chunks: list[Chunk] = []
    for path in paths:
        for block in blocks_of(path, labels[path], keys=keys):
            for first, count, atoms in _cut(read_as_written(block)):
                chunks.append(Chunk(f"{len(chunks):07d}", block, first, count, atoms))
    return chunks


def _cut(structures: Iterable[Structure]) -> Iterator[tuple[int, int, int]]:
    """(first, count, atoms) of each chunk."""
    first = count = atoms = 0
    for structure in structures:
        count += 1
        atoms += len(structure.numbers)
        if atoms >= CHUNK_ATOMS:
            yield first, count, atoms
            first, count, atoms = first + count, 0, 0
    if count:
        yield first, count, atoms


def label_chunk(chunk: Chunk, teacher: Teacher, folder: Path) -> int:
    """Leave the part of a chunk in the folder; how many of its structures have no labels."""
    note = folder / f"{chunk.name}{UNDER_WAY}"
    found = list(_labelled(chunk, teacher, note))
    failures = [each for each in found if isinstance(each, Failure)]
    table = rows_of([each for each in found if isinstance(each, Structure)])
    metadata = {FAILURES: json.dumps([astuple(failure) for failure in failures])}
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_atomically(chunk.part(folder), sink.getvalue())
    note.unlink(missing_ok=True)
    return len(failures)


def _labelled(chunk: Chunk, teacher: Teacher, note: Path) -> Iterator[Structure | Failure]:
    """Each structure by the teacher, but for those that its process has died of, time and again.

    The note outlives the process: how often each structure was begun and not ended.
    """
    begun = _begun(note)
    for number, structure in enumerate(chunk.structures()):
        if begun[str(number)] == DEATHS:
            yield Failure(structure.source, f"the process of the teacher died {DEATHS} times in it")
            continue
        begun[str(number)] += 1
        note.write_text(json.dumps(begun))
        yield from teacher.label([structure])
        begun[str(number)] -= 1


def _begun(note: Path) -> Counter[str]:
    try:
        return Counter(json.loads(note.read_text()))
    except (OSError, ValueError):  # none, or the process died as it wrote
        return Counter()


def forget_deaths(folder: Path) -> None:
    """A command that was killed is no death of its structures."""
    for note in folder.glob(f"*{UNDER_WAY}"):
        note.unlink()


def read_part(path: Path) -> tuple[list[Structure], list[Failure]]:
    """What a chunk left: structures with labels, and those without, each in their order."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
        failures = [Failure(*row) for row in json.loads(table.schema.metadata[FAILURES])]
        return structures_of(table), failures
