"""What ASE reads -> structures. Labels are those of the attached calculator, as they stand in the
file.

Constraints do not change them: a force on a fixed atom is a label like any other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from ase import Atoms

from ..errors import UserError
from ..units import voigt_from_matrix
from .structure import Structure

PATTERNS = (
    "*.extxyz.gz",
    "*.xyz.gz",
    "OUTCAR",
    "OUTCAR.*",
    "OUTCAR_*",
    "*.OUTCAR",
    "vasprun*.xml",
    "*.vasprun.xml",
    "*.pwo",
)
"""Names that are taken from a folder; a file that is named itself may have any that ASE knows."""


def structure_of(atoms: Atoms) -> Structure:
    """Atoms with their labels: the energy, or else the free energy, in eV; stress only where
    periodic along three vectors. `weight` and `config_type` of extended XYZ are its weight and
    group.
    """
    results = getattr(atoms.calc, "results", None) or {}
    energy = results.get("energy", results.get("free_energy"))
    forces, stress = results.get("forces"), results.get("stress")
    return Structure(
        numbers=np.array(atoms.numbers, np.int64),
        positions=np.array(atoms.positions, float),
        cell=np.array(atoms.cell.array, float),
        pbc=np.array(atoms.pbc, bool),
        energy=None if energy is None else float(energy),
        forces=None if forces is None else np.array(forces, float).reshape(len(atoms), 3),
        stress=None if stress is None or not atoms.pbc.all() else _voigt(stress),
        weight=float(atoms.info.get("weight", 1.0)),
        group=str(atoms.info.get("config_type", "")),
    )


def read(path: Path, part: tuple[int, int] | None = None) -> Iterator[Structure]:
    """Structures of any file that ASE reads; `part` counts structures."""
    from ase.io import iread

    index = ":" if part is None else slice(*part)
    for atoms in iread(path, index=index):
        yield structure_of(atoms)


def trajectory_parts(path: Path, size: int) -> list[tuple[int, int, int]]:
    """(start, stop, first) of blocks of a .traj file, in structures."""
    from ase.io.trajectory import Trajectory

    with Trajectory(path) as trajectory:
        count = len(trajectory)
    return [(start, min(start + size, count), start) for start in range(0, max(count, 1), size)]


def read_extxyz(path: Path, part: tuple[int, int] | None = None) -> Iterator[Structure]:
    """Structures of an extended XYZ file; `part` counts bytes and holds whole frames."""
    from ase.io import iread

    with path.open("rb") as file:
        start, stop = part or (0, path.stat().st_size)
        file.seek(start)
        text = file.read(stop - start).decode()
    for atoms in iread(io.StringIO(text), index=":", format="extxyz"):
        yield structure_of(atoms)


def extxyz_parts(path: Path, size: int) -> list[tuple[int, int, int]]:
    """(start, stop, first) of blocks of at most `size` frames, in bytes, found by the counts of
    atoms alone.
    """
    starts = []
    with path.open("rb") as file:
        while (offset := file.tell()) is not None and _skip_frame(file, path, len(starts)):
            starts.append(offset)
    firsts = range(0, max(len(starts), 1), size)
    ends = [*(starts[first] for first in firsts[1:]), path.stat().st_size]
    return [
        (starts[first] if starts else 0, end, first)
        for first, end in zip(firsts, ends, strict=True)
    ]


def _skip_frame(file: BinaryIO, path: Path, number: int) -> bool:
    """Whether there was a frame; ASE ends a file at a blank line, and so does this."""
    head = file.readline().strip()
    if not head:
        return False
    try:
        atoms = int(head)
    except ValueError:
        found = head[:40].decode(errors="replace")
        raise UserError(
            f"{path} cannot be read at structure {number}: {found!r} found, a number of "
            "atoms expected: write it as extended XYZ"
        ) from None
    lines = sum(1 for _ in islice(iter(file.readline, b""), atoms + 1))
    if lines < atoms + 1:
        raise UserError(
            f"{path} is cut off in structure {number} (its {atoms} atoms are not all "
            "there): write the file again"
        )
    while True:
        offset = file.tell()
        if not file.readline().startswith(b"VEC"):
            file.seek(offset)
            return True


def _voigt(stress: np.ndarray) -> np.ndarray:
    stress = np.array(stress, float)
    return stress if stress.shape == (6,) else voigt_from_matrix(stress.reshape(3, 3))
