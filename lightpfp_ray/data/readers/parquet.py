"""Parquet of the columns of `schema`: what `convert` writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from ..keys import Keys, Refused
from ..schema import SCHEMA
from ..structure import Structure
from .text import Parts, even_blocks

PATTERNS = ("*.parquet",)
MAGIC = b"PAR1"

LISTS = {
    "numbers": np.int64,
    "positions": np.float64,
    "cell": np.float64,
    "pbc": bool,
    "forces": np.float64,
    "stress": np.float64,
}
OPTIONAL = ("weight", "group", "teacher")
"""Columns that may be absent."""

COLUMNS = (*LISTS, "energy", *OPTIONAL)

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
        column = {name: batch.column(name) for name in columns}
        parts = {
            name: _parts(column[name], dtype) for name, dtype in LISTS.items() if name in column
        }
        for row in range(batch.num_rows):
            yield _structure({name: values[row] for name, values in parts.items()}, column, row)


def _structure(lists: dict, column: dict[str, pa.Array], row: int) -> Structure:
    numbers, forces, stress = lists["numbers"], lists["forces"], lists["stress"]
    absent = [n for n in ("numbers", "positions") if lists[n] is None]
    absent += [n for n in OPTIONAL if n in column and not column[n][row].is_valid]
    if absent:
        raise Refused(f"a structure without {absent[0]} found: write it again")
    if len(lists["positions"]) != 3 * len(numbers):
        raise Refused(f"{len(numbers)} numbers and {len(lists['positions'])} coordinates found")
    if forces is not None and len(forces) != 3 * len(numbers):
        raise Refused(f"{len(numbers)} numbers and {len(forces)} force components found")
    if stress is not None and len(stress) != 6:
        raise Refused(f"stress of {len(stress)} numbers found, 6 expected")
    return Structure(
        numbers=numbers,
        positions=lists["positions"].reshape(-1, 3),
        cell=lists["cell"].reshape(3, 3),
        pbc=lists["pbc"],
        energy=column["energy"][row].as_py(),
        forces=None if forces is None else forces.reshape(-1, 3),
        stress=stress,
        weight=column["weight"][row].as_py() if "weight" in column else 1.0,
        group=column["group"][row].as_py() if "group" in column else "",
        teacher=column["teacher"][row].as_py() if "teacher" in column else "",
    )


def _parts(column: pa.Array, dtype: type) -> list[np.ndarray | None]:
    """The flat numbers of each row of a column of lists; None where there is no list."""
    if isinstance(column, pa.FixedSizeListArray):
        if column.null_count:
            raise Refused("a structure without cell or pbc found: write it again")
        ends = np.arange(len(column) + 1) * column.type.list_size
        values = column.flatten()
    else:
        values, width = column.flatten(), 1
        if isinstance(values, pa.FixedSizeListArray):
            values, width = values.flatten(), values.type.list_size
        lengths = (
            pyarrow.compute.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        )
        ends = width * np.concatenate([[0], np.cumsum(lengths)])
    if values.null_count and dtype is not np.float64:
        raise Refused("a row of numbers with gaps found: write it again")
    numbers = values.to_numpy(zero_copy_only=False).astype(dtype)
    if len(numbers) != ends[-1]:
        raise Refused("a row of numbers that is absent found: write it again")
    present = column.is_valid().to_numpy(zero_copy_only=False)
    return [
        numbers[start:stop] if there else None
        for start, stop, there in zip(ends, ends[1:], present, strict=False)
    ]


def _numbers_in(file: pq.ParquetFile) -> int:
    """Atoms of the whole file, by the metadata of the column of atomic numbers."""
    names = [file.schema.column(c).path for c in range(len(file.schema))]
    column = next((c for c, name in enumerate(names) if name.startswith("numbers")), None)
    if column is None:
        return 0
    groups = (file.metadata.row_group(g) for g in range(file.num_row_groups))
    return sum(group.column(column).num_values for group in groups)
