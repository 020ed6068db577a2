"""The structures of one split on disk, in arrays that all workers of a machine map and share.

    structures.arrow                      a row a structure, in the order of (content hash, source)
    numbers.npy, positions.npy, ...       a row an atom, in the order of writing
    neighbors.npy, shifts.npy             a row an edge, sorted by center: 10 bytes

A structure is a range of atoms from `first_atom` on, an atom a range of edges from `first_edge` on.
A file that is mapped is read when it is touched, and lies in the machine's memory once, whoever
reads it; over a network file system too, once a machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UserError
from .schema import SCHEMA

VERSION = 1
"""Raised when the files or their meaning change; part of the key of the cache."""

OF_ATOMS = {
    "numbers": ("<i2", ()),  # atomic numbers
    "positions": ("<f8", (3,)),  # A
    "forces": ("<f8", (3,)),  # eV/A, NaN where absent
    "first_edge": ("<i8", ()),
    "n_edges": ("<i4", ()),
}
OF_EDGES = {
    "neighbors": ("<i4", ()),  # counted from the first atom of the structure
    # int8 would save 3 bytes of 10, and refuse positions far outside the cell.
    "shifts": ("<i2", (3,)),
}
"""dtype and shape of a row."""

COLUMNS = {
    "numbers": "numbers",
    "positions": "positions",
    "forces": "forces",
    "n_edges": "edges_of_atom",
    "neighbors": "neighbor",
    "shifts": "shift",
}
"""Array -> column of `schema.SCHEMA`; first_edge is a sum."""

SIDE_BY_SIDE = (("shifts",), ("neighbors",), ("numbers", "positions", "forces", "n_edges"))
"""Arrays that are written together; the first two are most of a set."""

TABLE = "structures.arrow"
KEPT = ["id", "source", "n_atoms", "cell", "energy", "stress", "weight", "group", "min_distance"]
"""Columns of `schema.SCHEMA` in the table; volume, has_forces, first_atom and n_edges are added."""

HEAD = b"lightpfp_ray.flat"
"""Key of the JSON in the table's metadata."""


@dataclass(frozen=True)
class Flat:
    """Mapped, read-only: rows of structures, and the arrays of atoms and edges by name."""

    structures: pa.Table
    arrays: dict[str, np.ndarray]
    elements: list[int]  # atomic numbers, ascending


def write(folder: Path, tables: Callable[[], Iterable[pa.Table]]) -> None:
    """Write tables of `schema.SCHEMA` into a new folder.

    The tables are asked for several times, because threads write the files side by side; each has
    one of them in memory at a time.
    """
    folder.mkdir()
    with ThreadPoolExecutor() as threads:
        written = [threads.submit(_write_arrays, folder, names, tables) for names in SIDE_BY_SIDE]
        _write_rows(folder, tables)
        for each in written:
            each.result()


def _write_arrays(
    folder: Path, names: Sequence[str], tables: Callable[[], Iterable[pa.Table]]
) -> None:
    with ExitStack() as stack:
        files = {name: stack.enter_context(_ArrayFile(folder, name)) for name in names}
        for table in tables():
            for name, file in files.items():
                file.append(_array_of(name, table))


def _write_rows(folder: Path, tables: Callable[[], Iterable[pa.Table]]) -> None:
    """The rows of structures, and `first_edge`, which is a sum over all tables before."""
    structures, elements, total = [_structures_of(SCHEMA.empty_table(), 0)], set(), 0
    with _ArrayFile(folder, "first_edge") as first_edge:
        for table in tables():
            structures.append(_structures_of(table, first_edge.rows))
            elements.update(np.unique(values_of(table["numbers"])).tolist())
            n_edges = values_of(table["edges_of_atom"])
            ends = total + np.cumsum(n_edges, dtype=np.int64)
            first_edge.append(ends - n_edges)
            total = int(ends[-1]) if len(ends) else total
    _write_table(folder / TABLE, structures, sorted(elements))


def _write_table(path: Path, structures: list[pa.Table], elements: list[int]) -> None:
    """The rows of structures in order, groups as codes."""
    rows = pa.concat_tables(structures)
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
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in OF_ATOMS | OF_EDGES
        }
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
    for columns, count in ((OF_ATOMS, rows["n_atoms"]), (OF_EDGES, rows["n_edges"])):
        for name, (dtype, trailing) in columns.items():
            array, shape = arrays[name], (count, *trailing)
            if array.dtype != dtype or array.shape != shape:
                return f"{name} is {array.dtype} {array.shape}, expected {dtype} {shape}"
    return None


class _ArrayFile:
    """A .npy file that grows; its head has a fixed size and is written again at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file, self.rows = (folder / f"{name}.npy").open("wb"), 0
        self.dtype, self.trailing = (OF_ATOMS | OF_EDGES)[name]
        self._write_head()

    def append(self, values: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(values, self.dtype).data)
        self.rows += len(values)

    def __enter__(self) -> _ArrayFile:
        return self

    def __exit__(self, *error: object) -> None:
        with self.file:
            self.file.seek(0)
            self._write_head()

    def _write_head(self) -> None:
        head = {"descr": self.dtype, "fortran_order": False, "shape": (self.rows, *self.trailing)}
        np.lib.format.write_array_header_1_0(self.file, head)


def _structures_of(table: pa.Table, first_atom: int) -> pa.Table:
    """What each structure is and has: the columns of atoms and edges by their lengths alone."""
    n_atoms = values_of(table["n_atoms"]).astype(np.int64)
    cell = values_of(table["cell"]).reshape(-1, 3, 3)
    periodic = values_of(table["pbc"]).reshape(-1, 3).all(1)
    added = {
        "volume": np.where(periodic, np.abs(np.linalg.det(cell)), np.nan),
        "has_forces": table["forces"].is_valid(),
        "first_atom": first_atom + np.cumsum(n_atoms) - n_atoms,
        "n_edges": pc.list_value_length(table["neighbor"]).cast(pa.int64()),
    }
    kept = table.select(KEPT)
    return pa.table({name: kept[name] for name in KEPT} | added)


def _array_of(name: str, table: pa.Table) -> np.ndarray:
    """The rows of an array that a table holds."""
    if name == "forces":
        return _forces_of(table)
    return values_of(table[COLUMNS[name]]).reshape(-1, *(OF_ATOMS | OF_EDGES)[name][1])


def _forces_of(table: pa.Table) -> np.ndarray:
    has_forces = np.repeat(values_of(table["forces"].is_valid()), values_of(table["n_atoms"]))
    forces = values_of(table["forces"]).reshape(-1, 3)
    if len(forces) == len(has_forces):
        return forces
    found = np.full((len(has_forces), 3), np.nan)
    found[has_forces] = forces
    return found


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
