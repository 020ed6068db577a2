"""What ASE reads -> structures. Labels are those of the attached calculator, as they stand in the
file.

Constraints do not change them: a force on a fixed atom is a label like any other. Only formats that
hold data, and no code, are read: FORMATS is a list of what is allowed, and ASE's pickles are not
in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from ase import Atoms

from .keys import (
    KNOWN_NAMES,
    Keys,
    Refused,
    chosen,
    energy_of,
    group_of,
    stress_of,
    teacher_of,
    weight_of,
)
from .readers.text import Parts, even_blocks
from .structure import Structure

PATTERNS = ("*.pwo",)
"""Names that are taken from a folder; a file that is named itself may have any that ASE knows."""

FORMATS = {
    "abinit-out", "aims-output", "castep-castep", "castep-md", "espresso-out", "extxyz",
    "gaussian-out", "gpaw-out", "json", "nwchem-out", "onetep-out", "orca-output", "vasp-out",
    "vasp-xml",
}  # fmt: skip


def structure_of(atoms: Atoms, keys: Keys = KNOWN_NAMES) -> Structure:
    """Atoms with their labels: the energy, or else the free energy, in eV. Entries of `info` and
    `arrays` count where the calculator has none of that name; `weight`, `config_type` and
    `teacher` are the weight, the group and the teacher.
    """
    results = getattr(atoms.calc, "results", None) or {}
    found = {k: v for k, v in {**atoms.info, **results}.items() if v is not None}
    vectors = {k: v for k, v in {**atoms.arrays, **results}.items() if np.ndim(v) == 2}
    cell = np.array(atoms.cell.array, float)
    forces = chosen("forces", vectors, keys)
    return Structure(
        numbers=np.array(atoms.numbers, np.int64),
        positions=np.array(atoms.positions, float),
        cell=cell,
        pbc=np.array(atoms.pbc, bool),
        energy=energy_of(found, keys),
        forces=None if forces is None else np.array(vectors[forces], float).reshape(-1, 3),
        stress=stress_of(found, cell, keys),
        weight=weight_of(found, keys),
        group=group_of(found, keys),
        teacher=teacher_of(found),
    )


def read(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of any file that ASE reads and that holds no code; `part` counts them."""
    from ase.io import iread
    from ase.io.formats import UnknownFileTypeError, filetype

    try:
        format_ = filetype(str(path), guess=False)
    except UnknownFileTypeError:
        format_ = "unknown"
    if format_ not in FORMATS:
        raise Refused(
            f"format {format_} found, expected extended XYZ, ASE .traj or .db, VASP OUTCAR or "
            "vasprun.xml, MLIP .cfg, HDF5 or Parquet: convert it to one of these"
        )
    for atoms in iread(path, index=_slice(part), format=format_):
        yield structure_of(atoms, keys)


def read_trajectory(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of a .traj file (JSON and raw numbers); `part` counts them."""
    from ase.io.trajectory import TrajectoryReader

    with TrajectoryReader(path) as trajectory:
        for number in range(len(trajectory))[_slice(part)]:
            yield structure_of(trajectory[number], keys)


def trajectory_parts(path: Path, size: int) -> Parts:
    """Blocks of a .traj file; the size of its first structure is taken for that of all."""
    from ase.io.trajectory import TrajectoryReader

    with TrajectoryReader(path) as trajectory:
        count = len(trajectory)
        return even_blocks(count, len(trajectory[0]) if count else 0, size)


def read_database(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Rows of ASE's SQLite database (JSON and raw numbers) by their ids; `part` counts them."""
    with _database(path) as database:
        limit, offset = (part[1], part[0]) if part else (None, 0)
        for row in database.select(limit=limit, offset=offset):
            atoms = row.toatoms()
            atoms.info |= row.key_value_pairs
            yield structure_of(atoms, keys)


def database_parts(path: Path, size: int) -> Parts:
    """Blocks of the rows of a database; the size of its first structure is taken for that of
    all.
    """
    with _database(path) as database:
        count = database.count()
        first = next(iter(database.select(limit=1)), None)
        return even_blocks(count, first.natoms if first else 0, size)


def _database(path: Path):
    """A database that is there: ASE would write its tables into any other file of SQLite."""
    from ase.db import connect

    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        names = {name for (name,) in file.execute("select name from sqlite_master")}
    if "systems" not in names:
        raise Refused("no table systems found: give a database that ASE wrote")
    return connect(path, type="db", append=True, use_lock_file=False)


def _slice(part: tuple[int, int] | None) -> slice:
    return slice(part[0], sum(part)) if part else slice(None)
