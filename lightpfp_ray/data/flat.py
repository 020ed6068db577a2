"""The structures of one split on disk, in arrays that all workers of a machine map and share.

    structures.arrow                      a row a structure, in the order of (content hash, source)
    numbers.npy, positions.npy, ...       a row an atom, in the order of writing
    neighbors.npy, shifts.npy             a row an edge, sorted by center: 10 bytes

A structure is a range of atoms from `first_atom` on, an atom a range of edges from `first_edge` on.
A file that is mapped is read when it is touched, and lies in the machine's memory once, whoever
reads it; over a network file system too, once a machine.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UserError
from .parts import OF_ATOMS, OF_EDGES, PLACED, ROWS, TABLE, rows_of

VERSION = 1
"""Raised when the files or their meaning change; part of the key of the cache."""

ARRAYS = OF_ATOMS | {"first_edge": ("<i8", ())} | OF_EDGES
"""dtype and shape of a row; first_edge is the sum of n_edges before it."""

SIDE_BY_SIDE = (("shifts",), ("neighbors",), tuple(OF_ATOMS))
"""Arrays that are written together; the first two are most of a set."""

COPIED = 2**20
"""Bytes that are copied at a time where the system does not do it."""

STRETCH = 2**17
"""Atoms that are looked at together."""

HEAD = b"lightpfp_ray.flat"
"""Key of the JSON in the table's metadata."""


@dataclass(frozen=True)
class Flat:
    """Mapped, read-only: rows of structures, and the arrays of atoms and edges by name."""

    structures: pa.Table
    arrays: dict[str, np.ndarray]
    elements: list[int]  # atomic numbers, ascending


def join(
    folder: Path, parts: Sequence[Path], chosen: Callable[[pa.Table], np.ndarray] | None = None
) -> None:
    """Make a set of parts (`parts.Part`), in their order, in a new folder or one that already holds
    the arrays of some of them (`place`).

    `chosen` tells of the rows of a part which structures are taken (bool); None: all.
    """
    folder.mkdir(exist_ok=True)
    placed = {part for part in parts if (part / PLACED).exists()}
    assert chosen is None or not placed
    pieces = [_piece(part, chosen) for part in parts]
    ends = np.cumsum([(0, 0), *map(_size, pieces)], axis=0).tolist()
    with ThreadPoolExecutor() as threads:
        copied = [
            threads.submit(_copy_arrays, folder, names, piece, first)
            for piece, first in zip(pieces, ends[:-1], strict=True)
            if piece.part not in placed
            for names in SIDE_BY_SIDE
        ]
        for each in copied:
            each.result()
    _write_heads(folder, *ends[-1])
    _write_first_edge(folder)
    _write_table(folder / TABLE, [piece.rows for piece in pieces], _elements(folder))


def place(folder: Path, part: Path, first: tuple[int, int]) -> None:
    """Move the arrays of a part into a set, from this atom and this edge of the set on.

    Done again for the same part, as where a task died, it leaves the same. `join` of all parts
    makes the set whole.
    """
    folder.mkdir(exist_ok=True)
    _copy_arrays(folder, [*OF_ATOMS, *OF_EDGES], _piece(part, None), first)
    (part / PLACED).touch()
    for name in OF_ATOMS | OF_EDGES:
        (part / name).unlink()


class _Piece(NamedTuple):
    """What is taken of a part: (first, count) of the rows of its arrays."""

    part: Path
    rows: pa.Table
    atoms: list[tuple[int, int]]
    edges: list[tuple[int, int]]


def _piece(part: Path, chosen: Callable[[pa.Table], np.ndarray] | None) -> _Piece:
    rows = rows_of(part)
    taken = np.ones(len(rows), bool) if chosen is None else chosen(rows)
    atoms, edges = (_runs(taken, values_of(rows[name])) for name in ("n_atoms", "n_edges"))
    if not taken.all():
        rows = rows.filter(pa.array(taken.tolist(), pa.bool_()))
    return _Piece(part, rows, atoms, edges)


def _runs(taken: np.ndarray, lengths: np.ndarray) -> list[tuple[int, int]]:
    """(first, count) of the values of those that are taken, neighbors in one."""
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    borders = np.flatnonzero(np.diff(taken.astype(np.int8), prepend=0, append=0))
    runs = ends[borders].reshape(-1, 2).tolist()
    return [(first, last - first) for first, last in runs if last > first]


def _size(piece: _Piece) -> tuple[int, int]:
    """Atoms and edges."""
    return sum(count for _, count in piece.atoms), sum(count for _, count in piece.edges)


def _copy_arrays(folder: Path, names: Sequence[str], piece: _Piece, first: tuple[int, int]) -> None:
    """Copy what is taken of a part to the rows of the set from `first` on (atom, edge)."""
    for name in names:
        row, runs = (first[1], piece.edges) if name in OF_EDGES else (first[0], piece.atoms)
        size = np.dtype(ARRAYS[name]).itemsize
        at = len(_head(name, 0)) + row * size
        with (piece.part / name).open("rb") as source, _opened(folder, name) as target:
            for start, count in runs:
                _copy(source.fileno(), start * size, target.fileno(), at, count * size)
                at += count * size


def _write_heads(folder: Path, atoms: int, edges: int) -> None:
    for name in OF_ATOMS | OF_EDGES:
        with _opened(folder, name) as file:
            file.write(_head(name, edges if name in OF_EDGES else atoms))


def _write_first_edge(folder: Path) -> None:
    rows, total = len(np.load(folder / "n_edges.npy", mmap_mode="r")), 0
    with _opened(folder, "first_edge") as file:
        file.write(_head("first_edge", rows))
        for n_edges in _stretches(folder, "n_edges"):
            ends = total + np.cumsum(n_edges, dtype=np.int64)
            file.write((ends - n_edges).data)
            total = int(ends[-1])


def _elements(folder: Path) -> list[int]:
    found = (np.flatnonzero(np.bincount(some)) for some in _stretches(folder, "numbers"))
    return sorted({z for some in found for z in some.tolist()})


def _stretches(folder: Path, name: str) -> Iterator[np.ndarray]:
    """An array that was written, piece by piece."""
    values = np.load(folder / f"{name}.npy", mmap_mode="r")
    for first in range(0, len(values), STRETCH):
        yield values[first : first + STRETCH]


def _write_table(path: Path, structures: list[pa.Table], elements: list[int]) -> None:
    """The rows of structures in order, groups as codes."""
    rows = pa.concat_tables([ROWS.empty_table(), *structures])
    n_atoms = values_of(rows["n_atoms"]).astype(np.int64)
    first_atom = pa.py_buffer(np.cumsum(n_atoms) - n_atoms)
    rows = rows.append_column(
        "first_atom", pa.Array.from_buffers(pa.int64(), len(rows), [None, first_atom])
    )
    rows = rows.take(pc.sort_indices(rows, [("id", "ascending"), ("source", "ascending")]))
    group = rows.column_names.index("group")
    rows = rows.set_column(group, "group", rows["group"].dictionary_encode()).combine_chunks()
    head = json.dumps({"version": VERSION, "elements": elements})
    rows = rows.replace_schema_metadata({HEAD: head})
    with pa.ipc.new_file(path, rows.schema) as writer:
        writer.write_table(rows)


def opened(folder: Path) -> Flat:
    """The files of a folder, mapped in milliseconds. Raises UserError where they are not whole."""
    try:
        with pa.memory_map(str(folder / TABLE)) as file:
            structures = pa.ipc.open_file(file).read_all()
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        head = json.loads(structures.schema.metadata[HEAD])
        why = _mismatch(structures, arrays)
        if head["version"] != VERSION:
            why = f"version {head['version']} found, {VERSION} expected"
    except (OSError, EOFError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
    if why:
        raise UserError(f"{folder} is damaged ({why}): delete the cache, it is made again")
    return Flat(structures, arrays, head["elements"])


def _mismatch(structures: pa.Table, arrays: dict[str, np.ndarray]) -> str | None:
    """What is wrong with the sizes of the arrays, by the sums over structures."""
    rows = {name: pc.sum(structures[name]).as_py() or 0 for name in ("n_atoms", "n_edges")}
    for name, (dtype, trailing) in ARRAYS.items():
        shape = (rows["n_edges" if name in OF_EDGES else "n_atoms"], *trailing)
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape:
            return f"{name} is {array.dtype} {array.shape}, expected {dtype} {shape}"
    return None


def _opened(folder: Path, name: str) -> BinaryIO:
    """The file of an array, to write in some of it; made where there is none."""
    file = os.open(folder / f"{name}.npy", os.O_RDWR | os.O_CREAT, 0o666)
    return os.fdopen(file, "r+b")


def _head(name: str, rows: int) -> bytes:
    """How the file of an array begins; as long for any number of rows."""
    dtype, trailing = ARRAYS[name]
    head = {"descr": dtype, "fortran_order": False, "shape": (rows, *trailing)}
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, head)
    return text.getvalue()


def _copy(source: int, first: int, target: int, at: int, count: int) -> None:
    """Copy bytes from one place of a file to another of another, by the system itself where it
    can.
    """
    while count:
        try:
            copied = os.copy_file_range(source, target, count, first, at)
        except (AttributeError, OSError):  # not on each system, nor between all of its disks
            copied = 0
        copied = copied or os.pwrite(target, os.pread(source, min(count, COPIED), first), at)
        if not copied:
            raise EOFError(f"{count} bytes of a part of the set are missing")
        first, at, count = first + copied, at + copied, count - copied


def values_of(column: pa.ChunkedArray) -> np.ndarray:
    """All values of a column, one after the other, lists undone, absent ones left out; read-only.

    By DLPack, which knows no bits: Arrow's own way to numpy would import pandas, half a second.
    """
    values = column.combine_chunks()
    while pa.types.is_nested(values.type):
        values = values.flatten()
    if pa.types.is_boolean(values.type):
        return np.from_dlpack(values.cast(pa.uint8())).view(bool)
    return np.from_dlpack(values.drop_null())
