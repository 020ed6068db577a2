"""What a task leaves of its structures: a part of a set, of which `flat.join` makes the set.

    structures.arrow            a row a structure, in the order of writing
    numbers, positions, ...     the rows of the arrays of a set, raw, in the same order; until they
                                lie in the set
    placed                      where they do

The numbers go straight from where they were found into the files, and are copied into the set by
the system, so that no program looks at them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from .neighbors import Edges
from .structure import Structure

OF_ATOMS = {
    "numbers": ("<i2", ()),  # atomic numbers
    "positions": ("<f8", (3,)),  # A
    "forces": ("<f8", (3,)),  # eV/A, NaN where absent
    "n_edges": ("<i4", ()),
}
OF_EDGES = {
    "neighbors": ("<i4", ()),  # counted from the first atom of the structure
    # int8 would save 3 bytes of 10, and refuse positions far outside the cell.
    "shifts": ("<i2", (3,)),
}
"""dtype and shape of a row."""

TABLE = "structures.arrow"
PLACED = "placed"
ROWS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # schema.content_hash
        pa.field("source", pa.string(), nullable=False),
        pa.field("n_atoms", pa.int32(), nullable=False),
        pa.field("cell", pa.list_(pa.float64(), 9), nullable=False),  # A
        pa.field("energy", pa.float64()),  # eV
        pa.field("stress", pa.list_(pa.float64())),  # eV/A^3; six, or null
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("min_distance", pa.float64(), nullable=False),  # A; infinite without any edge
        pa.field("has_forces", pa.bool_(), nullable=False),
        pa.field("n_edges", pa.int64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),  # A^3; NaN where not periodic in 3
    ]
)

BUFFER = 2**17
"""Bytes of a column that are kept for one write to the disk."""


class Part:
    """A part, written as structures are added; whole once it is closed.

    The folder is new, or what a task that died left of the same part.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / PLACED).unlink(missing_ok=True)
        self.folder, self.rows, self.periodic = folder, [], []
        with ExitStack() as stack:
            self.files = {
                name: stack.enter_context((folder / name).open("wb", buffering=BUFFER))
                for name in OF_ATOMS | OF_EDGES
            }
            self.opened = stack.pop_all()

    def add(self, content: str, structure: Structure, edges: Edges) -> None:
        """A structure with its `schema.content_hash` and its edges."""
        forces = structure.forces
        columns = {
            "numbers": structure.numbers,
            "positions": structure.positions,
            "forces": np.full_like(structure.positions, np.nan) if forces is None else forces,
            "n_edges": edges.n_edges_A,
            "neighbors": edges.neighbor_E,
            "shifts": edges.shift_E3,
        }
        for name, values in columns.items():
            dtype = (OF_ATOMS | OF_EDGES)[name][0]
            self.files[name].write(np.ascontiguousarray(values, dtype).data)
        self.rows.append(_row(content, structure, edges))
        self.periodic.append(bool(structure.pbc.all()))

    def __enter__(self) -> Part:
        return self

    def __exit__(self, error: type | None, *_: object) -> None:
        self.opened.close()
        if error is None:
            table = _table(self.rows, self.periodic)
            with pa.ipc.new_file(self.folder / TABLE, table.schema) as writer:
                writer.write_table(table)


def write_part(
    folder: Path, contents: Iterable[str], structures: Sequence[Structure], edges: Sequence[Edges]
) -> Path:
    """A part of structures that are at hand; its folder."""
    with Part(folder) as part:
        for each in zip(contents, structures, edges, strict=True):
            part.add(*each)
    return folder


def rows_of(folder: Path) -> pa.Table:
    """The table of a part."""
    with pa.memory_map(str(folder / TABLE)) as file:
        return pa.ipc.open_file(file).read_all()


def _row(content: str, structure: Structure, edges: Edges) -> tuple:
    """In the order of ROWS, but for the volume."""
    stress = structure.stress
    return (
        content,
        structure.source,
        len(structure.numbers),
        structure.cell.ravel().tolist(),
        structure.energy,
        None if stress is None else stress.tolist(),
        structure.weight,
        structure.group,
        edges.shortest,
        structure.forces is not None,
        len(edges.neighbor_E),
    )


def _table(rows: list[tuple], periodic: list[bool]) -> pa.Table:
    """The volumes are found together: one by one they take as long as the hash of the content."""
    columns = list(zip(*rows, strict=True)) or [()] * (len(ROWS) - 1)
    cells = np.array(columns[ROWS.names.index("cell")]).reshape(-1, 3, 3)
    volumes = np.where(periodic, np.abs(np.linalg.det(cells)), np.nan).tolist()
    return pa.table(
        [pa.array(v, field.type) for v, field in zip([*columns, volumes], ROWS, strict=True)],
        schema=ROWS,
    )
