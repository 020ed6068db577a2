"""One structure as an Arrow row: list columns of fixed-size lists, labels null where they are
absent; its name by content, and the split that follows from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa

from .structure import Structure

VERSION = 4
"""Raised when a row's columns or their meaning change; part of the key of the cache."""

SPLITS = ("train", "test")
LABELS = ("energy", "forces", "stress")

_UNITS = {
    "positions": "A",
    "cell": "A",
    "energy": "eV",
    "forces": "eV/A",
    "stress": "eV/A^3, Voigt, positive under tension",
}
_DTYPES = {
    pa.int16(): np.int16,
    pa.float64(): np.float64,
}
_VECTORS = pa.list_(pa.list_(pa.float64(), 3))

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # content_hash
        pa.field("source", pa.string(), nullable=False),
        pa.field("n_atoms", pa.int32(), nullable=False),
        pa.field("numbers", pa.list_(pa.int16()), nullable=False),
        pa.field("positions", _VECTORS, nullable=False),
        pa.field("cell", pa.list_(pa.float64(), 9), nullable=False),
        pa.field("pbc", pa.list_(pa.bool_(), 3), nullable=False),
        pa.field("energy", pa.float64()),
        pa.field("forces", _VECTORS),
        pa.field("stress", pa.list_(pa.float64())),  # six, or null
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("teacher", pa.string(), nullable=False),
    ],
    metadata={"lightpfp_ray.version": str(VERSION), "lightpfp_ray.units": json.dumps(_UNITS)},
)


def content_hash(structure: Structure) -> str:
    """sha256 of what a structure says: atoms, cell, labels; not of where it was read, nor of its
    weight, group and teacher, so that runs with other weights are tested on the same structures.

    Little-endian float64 throughout, -0.0 counted as 0.0; an absent label differs from any value.
    """
    digest = hashlib.sha256(f"structure {len(structure.numbers)}".encode())
    parts = (structure.numbers, structure.positions, structure.cell, structure.pbc)
    for part in (*parts, structure.energy, structure.forces, structure.stress):
        digest.update(b"-" if part is None else b"+" + (np.asarray(part, "<f8") + 0.0).tobytes())
    return digest.hexdigest()


def split_score(content: str, seed: int) -> float:
    """A number in [0, 1) that depends on the content of a structure and the seed alone."""
    digest = hashlib.sha256(f"{content} {seed}".encode()).digest()
    return (int.from_bytes(digest[:8], "little") >> 11) / 2**53


def split_of(content: str, seed: int, test_fraction: float) -> str:
    """ "test" where the score is below test_fraction, else "train"; equal structures fall on one
    side.
    """
    return "test" if split_score(content, seed) < test_fraction else "train"


def rows_of(structures: Sequence[Structure]) -> pa.Table:
    """Structures as a table of SCHEMA, in their order."""
    columns = {
        "id": [content_hash(s) for s in structures],
        "source": [s.source for s in structures],
        "n_atoms": [len(s.numbers) for s in structures],
        "numbers": _ragged([s.numbers for s in structures], pa.int16()),
        "positions": _ragged([s.positions for s in structures], pa.float64(), 3),
        "cell": _fixed([s.cell for s in structures], pa.float64(), 9),
        "pbc": _fixed([s.pbc for s in structures], pa.bool_(), 3),
        "energy": [s.energy for s in structures],
        "forces": _ragged([s.forces for s in structures], pa.float64(), 3),
        "stress": _ragged([s.stress for s in structures], pa.float64()),
        "weight": [s.weight for s in structures],
        "group": [s.group for s in structures],
        "teacher": [s.teacher for s in structures],
    }
    return pa.table(
        [pa.array(v, f.type) if isinstance(v, list) else v for f, v in _by_field(columns)],
        schema=SCHEMA,
    )


def structures_of(table: pa.Table) -> list[Structure]:
    """The structures of a table of SCHEMA."""
    return [
        Structure(
            numbers=np.array(row["numbers"], np.int64),
            positions=np.array(row["positions"], float).reshape(-1, 3),
            cell=np.array(row["cell"], float).reshape(3, 3),
            pbc=np.array(row["pbc"], bool),
            energy=row["energy"],
            forces=None if row["forces"] is None else np.array(row["forces"], float).reshape(-1, 3),
            stress=None if row["stress"] is None else np.array(row["stress"], float),
            source=row["source"],
            weight=row["weight"],
            group=row["group"],
            teacher=row["teacher"],
        )
        for row in table.to_pylist()
    ]


def _by_field(columns: dict) -> list:
    return [(field, columns[field.name]) for field in SCHEMA]


def _flat(parts: Sequence[np.ndarray | None], kind: pa.DataType) -> pa.Array:
    """All values of the parts, by a buffer: `pa.array` of numpy would import pandas."""
    if pa.types.is_boolean(kind):
        return pa.array([bool(value) for part in parts for value in part], kind)
    dtype = _DTYPES[kind]
    present = [np.ravel(part) for part in parts if part is not None]
    values = np.concatenate([np.zeros(0, dtype), *present], dtype=dtype, casting="unsafe")
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _fixed(parts: Sequence[np.ndarray], kind: pa.DataType, width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(_flat(parts, kind), width)


def _ragged(
    parts: Sequence[np.ndarray | None], kind: pa.DataType, width: int | None = None
) -> pa.Array:
    """A list column: one list a structure, null where the part is None; of fixed-size lists with a
    width.
    """
    values = _flat(parts, kind) if width is None else _fixed(parts, kind, width)
    ends = list(accumulate((0 if p is None else len(p) for p in parts), initial=0))
    absent = pa.array([p is None for p in parts], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, mask=absent)
