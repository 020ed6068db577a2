"""Parquet of the columns of `schema`: what `convert` writes, and the shards of a cache."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..keys import Keys, Refused
from ..schema import SCHEMA, structures_of
from ..structure import Structure
from .text import Parts, even_blocks

PATTERNS = ("*.parquet",)
MAGIC = b"PAR1"

EDGES = ("edges_of_atom", "neighbor", "shift", "min_distance")
COLUMNS = tuple(name for name in SCHEMA.names if name not in EDGES)
"""Of a structure without its edges."""

OPTIONAL = {"id": "", "source": "", "n_atoms": 0, "weight": 1.0, "group": ""}
"""Columns that may be absent, and what they are then."""

ROWS = 100
"""Structures that are decoded together."""


def read(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of a file; `part` counts them."""
    with pq.ParquetFile(path) as file:
        start, count = part or (0, file.metadata.num_rows)
        groups, before = _groups(file, start)
        yield from islice(_structures(file, groups), start - before, start - before + count)


def parts(path: Path, size: int) -> Parts:
    """Blocks of rows, counted from 0; all are taken to be of the mean size."""
    with pq.ParquetFile(path) as file:
        _columns(file)
        rows = file.metadata.num_rows
        atoms = _numbers_in(file) // max(rows, 1)
        return even_blocks(rows, atoms, size)


def _columns(file: pq.ParquetFile) -> list[str]:
    """Those to read. Raises Refused where one is absent or of another type."""
    found = file.schema_arrow
    for name in COLUMNS:
        if name in OPTIONAL and name not in found.names:
            continue
        expected = SCHEMA.field(name).type
        if name not in found.names or not _alike(found.field(name).type, expected):
            kind = found.field(name).type if name in found.names else "none"
            raise Refused(
                f"column {name}: {kind} found, {expected} expected: write it with "
                "`lightpfp-ray convert`"
            )
    return [name for name in COLUMNS if name in found.names]


def _alike(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal, whatever the items of lists are called."""
    if pa.types.is_nested(expected):
        same = type(found) is type(expected) and (
            getattr(found, "list_size", 0) == getattr(expected, "list_size", 0)
        )
        return same and _alike(found.value_type, expected.value_type)
    return found == expected


def _groups(file: pq.ParquetFile, start: int) -> tuple[list[int], int]:
    """Row groups that hold the row `start` and those after it, and the rows before them."""
    before = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if before + rows > start:
            return list(range(group, file.num_row_groups)), before
        before += rows
    return [], before


def _structures(file: pq.ParquetFile, groups: list[int]) -> Iterator[Structure]:
    columns = _columns(file)
    for batch in file.iter_batches(ROWS, row_groups=groups, columns=columns):
        table = pa.Table.from_batches([batch])
        for name, value in OPTIONAL.items():
            if name not in columns:
                table = table.append_column(name, pa.array([value] * len(table)))
        yield from structures_of(table)


def _numbers_in(file: pq.ParquetFile) -> int:
    """Atoms of the whole file, by the metadata of the column of atomic numbers."""
    names = [file.schema.column(c).path for c in range(len(file.schema))]
    column = next((c for c, name in enumerate(names) if name.startswith("numbers")), None)
    if column is None:
        return 0
    groups = (file.metadata.row_group(g) for g in range(file.num_row_groups))
    return sum(group.column(column).num_values for group in groups)
