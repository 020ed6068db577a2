"""Structures -> files: extended XYZ, HDF5 as LightPFP has it, MLIP's .cfg, Parquet of our columns.

Nothing is lost on the way: text holds the shortest digits that read back to the same number, and
what a format has no place for goes where its readers do not mind. A file appears whole, by a
rename.
"""

from __future__ import annotations

import decimal
import gzip
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase.data import chemical_symbols

from ..errors import UserError
from ..units import matrix_from_voigt
from .readers.mlip_cfg import DIGITS, STRESS_ORDER, exact_volume
from .readers.parquet import COLUMNS
from .readers.text import bare_name
from .schema import SCHEMA, rows_of
from .structure import Structure

Add = Callable[[Structure], None]

ROW_GROUP = 500
"""Structures that Parquet keeps together."""

ATOM_DATA = "id type cartes_x cartes_y cartes_z"


def format_of(path: Path) -> Callable[[Path, list[int]], AbstractContextManager[Add]]:
    """How a file of such a name is written. Raises UserError for a name of no known format, and
    where its folder is not there.
    """
    kind = next(
        (open_ for suffix, open_ in _FORMATS.items() if bare_name(path).endswith(suffix)), None
    )
    if kind is None or (kind in (_hdf5, _parquet) and bare_name(path) != path.name):
        raise UserError(
            f"{path.name}: expected a name that ends in {', '.join(_FORMATS)}, or in .gz or .xz "
            "after one of text"
        )
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no folder: make it, or correct the path")
    return kind


@contextmanager
def writing(path: Path, species: Sequence[int] = ()) -> Iterator[Add]:
    """A function that adds a structure to a new file, of the format of its name.

    `species` are atomic numbers in the order in which a .cfg file shall number them; those that
    are not named follow as they appear. Raises UserError for a name of no known format.
    """
    kind = format_of(path)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with kind(beside, list(species)) as add:
            yield add
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _extxyz(path: Path, species: list[int]) -> Iterator[Add]:
    with _text(path) as file:
        yield lambda structure: file.write(extxyz_of(structure).encode())


@contextmanager
def _cfg(path: Path, species: list[int]) -> Iterator[Add]:
    with _text(path) as file:
        yield lambda structure: file.write(cfg_of(structure, species).encode())


@contextmanager
def _hdf5(path: Path, species: list[int]) -> Iterator[Add]:
    with h5py.File(path, "w") as file:
        yield lambda structure: _add_group(file, structure)


@contextmanager
def _parquet(path: Path, species: list[int]) -> Iterator[Add]:
    schema = pa.schema([SCHEMA.field(name) for name in COLUMNS], metadata=SCHEMA.metadata)
    waiting: list[Structure] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def add(structure: Structure) -> None:
            waiting.append(structure)
            if len(waiting) == ROW_GROUP:
                file.write_table(rows_of(waiting).select(COLUMNS))
                waiting.clear()

        yield add
        if waiting:
            file.write_table(rows_of(waiting).select(COLUMNS))


def _text(path: Path):
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=6)
    return lzma.open(path, "wb") if path.suffix == ".xz" else path.open("wb")


_FORMATS = {
    ".extxyz": _extxyz,
    ".xyz": _extxyz,
    ".cfg": _cfg,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".parquet": _parquet,
}


def extxyz_of(structure: Structure) -> str:
    """A structure as extended XYZ, in ASE's conventions."""
    entries = []
    if structure.cell.any():
        entries.append(f'Lattice="{_joined(structure.cell)}"')
    forces = "" if structure.forces is None else ":forces:R:3"
    entries.append(f"Properties=species:S:1:pos:R:3{forces}")
    if structure.energy is not None:
        entries.append(f"energy={float(structure.energy)!r}")
    if structure.stress is not None:
        entries.append(f'stress="{_joined(matrix_from_voigt(structure.stress))}"')
    if structure.group:
        entries.append(f"config_type={_quoted(structure.group)}")
    if structure.teacher:
        entries.append(f"teacher={_quoted(structure.teacher)}")
    if structure.weight != 1.0:
        entries.append(f"weight={float(structure.weight)!r}")
    entries.append(f'pbc="{_flags(structure.pbc)}"')
    columns = [structure.positions] + ([] if structure.forces is None else [structure.forces])
    rows = np.hstack(columns).tolist()
    symbols = [chemical_symbols[number] for number in structure.numbers.tolist()]
    lines = [f"{s} {' '.join(map(repr, row))}" for s, row in zip(symbols, rows, strict=True)]
    return "\n".join([str(len(rows)), " ".join(entries), *lines, ""])


def _joined(values: np.ndarray) -> str:
    return " ".join(map(repr, np.asarray(values, float).reshape(-1).tolist()))


def _flags(pbc: np.ndarray) -> str:
    return " ".join("T" if flag else "F" for flag in pbc)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def cfg_of(structure: Structure, species: list[int]) -> str:
    """A block of a .cfg; `species` grows by the elements that are new."""
    numbers = structure.numbers.tolist()
    species += [number for number in dict.fromkeys(numbers) if number not in species]
    lines = ["BEGIN_CFG", " Size", f"    {len(numbers)}"]
    vectors = [vector for vector in structure.cell if vector.any()]
    if vectors:
        lines += [" Supercell", *(f"    {_joined(vector)}" for vector in structure.cell)]
    forces = structure.forces
    lines.append(f" AtomData:  {ATOM_DATA}{'' if forces is None else ' fx fy fz'}")
    columns = [structure.positions] + ([] if forces is None else [forces])
    lines += [
        f"    {n} {species.index(number)} {' '.join(map(repr, row))}"
        for n, (number, row) in enumerate(zip(numbers, np.hstack(columns).tolist(), strict=True), 1)
    ]
    if structure.energy is not None:
        lines += [" Energy", f"    {float(structure.energy)!r}"]
    if structure.stress is not None:
        names = "  ".join(STRESS_ORDER)
        lines += [f" PlusStress:  {names}", f"    {_plus_stress(structure)}"]
    lines.append(f" Feature   species {','.join(chemical_symbols[z] for z in species)}")
    if [bool(flag) for flag in structure.pbc] != [bool(vectors)] * 3:
        lines.append(f" Feature   pbc {_flags(structure.pbc)}")
    if structure.weight != 1.0:
        lines.append(f" Feature   weight {float(structure.weight)!r}")
    if structure.group:
        lines.append(f" Feature   group {' '.join(structure.group.split())}")
    if structure.teacher:
        lines.append(f" Feature   teacher {' '.join(structure.teacher.split())}")
    return "\n".join([*lines, "END_CFG", "", ""])


def _plus_stress(structure: Structure) -> str:
    """-stress * volume with so many digits that dividing it gives the same stress."""
    volume = exact_volume(structure.cell)
    if not volume:
        raise UserError(
            f"{structure.source} has a stress, but no volume, which .cfg cannot hold: choose "
            "another format"
        )
    with decimal.localcontext(prec=DIGITS // 2):
        return " ".join(str(-Decimal(float(value)) * volume) for value in structure.stress)


def _add_group(file: h5py.File, structure: Structure) -> None:
    group = file.create_group(f"{len(file):06d}")
    group["cell"], group["pbc"] = structure.cell, structure.pbc
    group["numbers"], group["positions"] = structure.numbers, structure.positions
    for name, value in (
        ("potential_energy", structure.energy),
        ("forces", structure.forces),
        ("stress", structure.stress),
    ):
        if value is not None:
            group[name] = np.asarray(value, np.float64)
    if structure.weight != 1.0:
        group.attrs["weight"] = float(structure.weight)
    if structure.group:
        group.attrs["group"] = structure.group
    if structure.teacher:
        group.attrs["teacher"] = structure.teacher
