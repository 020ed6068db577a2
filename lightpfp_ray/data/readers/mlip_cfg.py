"""MLIP's .cfg: blocks of BEGIN_CFG ... END_CFG.

    PlusStress = -stress * volume        eV, order xx yy zz yz xz xy

As many Supercell vectors as periodic directions. The file numbers its species from 0: their names
come from --key species=In,P or from a line `Feature species In,P` of the block. Features that our
writer adds hold what the format has no place for (pbc, weight, group).
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import numpy as np
from ase.data import atomic_numbers

from ..keys import Keys, Refused, teacher_of
from ..structure import Structure
from .text import Parts, in_blocks, limited, line_of, lines_of, opened

PATTERNS = ("*.cfg", "*.cfgs")

STRESS_ORDER = ("xx", "yy", "zz", "yz", "xz", "xy")
DIGITS = 60
"""Stress and PlusStress turn into each other in decimals of so many digits, so that nothing is
lost on the way there and back.
"""


def read(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of a file; `part` starts at a byte."""
    with opened(path) as file:
        file.seek(part[0] if part else 0)
        for _ in limited(_begins(file), part):
            yield _structure(file, keys)


def parts(path: Path, size: int) -> Parts:
    """Blocks, found by their first lines; they start at bytes."""
    with opened(path) as file:
        return in_blocks(_offsets(file), size)


def _offsets(file: BinaryIO) -> Iterator[tuple[int, int]]:
    offset, begin, atoms, previous = 0, -1, 0, b""
    while line := line_of(file):
        word = line.strip()
        if word == b"BEGIN_CFG":
            if begin >= 0:
                raise Refused("BEGIN_CFG within a block found: write the file again")
            begin, atoms = offset, 0
        elif previous == b"Size":
            atoms = int(word)
        elif word == b"END_CFG":
            if begin < 0:
                raise Refused("END_CFG without BEGIN_CFG found: write the file again")
            yield begin, atoms
            begin = -1
        offset += len(line)
        previous = word
    if begin >= 0:
        raise Refused("it is cut off (BEGIN_CFG without END_CFG): write the file again")


def _begins(file: BinaryIO) -> Iterator[None]:
    while line := line_of(file):
        if line.strip() == b"BEGIN_CFG":
            yield
        elif line.strip():
            found = line.strip()[:40].decode(errors="replace")
            raise Refused(f"{found!r} found, BEGIN_CFG expected: write it as MLIP's .cfg")


def _structure(file: BinaryIO, keys: Keys) -> Structure:
    """A block after its first line."""
    count, energy, stress = 0, None, None
    cell = np.zeros((3, 3))
    vectors = 0
    atoms: dict[str, list[str]] = {}
    features: dict[str, str] = {}
    while line := line_of(file):
        words = line.decode(errors="replace").split()
        title = words[0] if words else ""
        if title == "END_CFG":
            return _assembled(count, cell[:vectors], energy, stress, atoms, features, keys)
        if title == "Size":
            count = int(line_of(file))
        elif title == "Supercell":
            cell, vectors = _supercell(file)
        elif title == "AtomData:":
            atoms = _atom_data(words[1:], lines_of(file, count))
        elif title == "Energy":
            energy = float(line_of(file))
        elif title == "PlusStress:":
            stress = _plus_stress(words[1:], line_of(file).decode(errors="replace").split())
        elif title == "Feature" and len(words) > 1:
            features[words[1]] = " ".join(words[2:])
        elif title:
            raise Refused(f"{title[:40]!r} found within a block: write it as MLIP's .cfg")
    raise Refused("it is cut off (BEGIN_CFG without END_CFG): write the file again")


def _supercell(file: BinaryIO) -> tuple[np.ndarray, int]:
    """Vectors (3, 3), zero where there are none, and how many there are."""
    cell, vectors = np.zeros((3, 3)), 0
    for row in range(3):
        offset = file.tell()
        try:
            values = [float(word) for word in line_of(file).split()]
        except ValueError:
            values = []
        if len(values) != 3:
            file.seek(offset)
            break
        cell[row], vectors = values, row + 1
    return cell, vectors


def _atom_data(names: list[str], lines: list[bytes]) -> dict[str, list[str]]:
    rows = [line.decode(errors="replace").split() for line in lines]
    if any(len(row) != len(names) for row in rows):
        raise Refused(f"a line of atoms without its {len(names)} columns found: correct the file")
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}


def _plus_stress(names: list[str], words: list[str]) -> list[str]:
    if sorted(names) != sorted(STRESS_ORDER) or len(words) != 6:
        raise Refused("PlusStress without its six components found: correct the file")
    return [words[names.index(name)] for name in STRESS_ORDER]


def _assembled(
    count: int,
    vectors: np.ndarray,
    energy: float | None,
    plus_stress: list[str] | None,
    atoms: dict[str, list[str]],
    features: dict[str, str],
    keys: Keys,
) -> Structure:
    cell = np.zeros((3, 3))
    cell[: len(vectors)] = vectors
    pbc = np.arange(3) < len(vectors)
    if "pbc" in features:
        pbc = np.array([flag == "T" for flag in features["pbc"].split()], bool)
    types = np.array([int(word) for word in _columns(atoms, count, "type")[0]], np.int64)
    has_forces = all(name in atoms for name in ("fx", "fy", "fz"))
    direct = "direct_x" in atoms
    where = ("direct_x", "direct_y", "direct_z") if direct else ("cartes_x", "cartes_y", "cartes_z")
    positions = _floats(atoms, count, where)
    return Structure(
        numbers=_numbers(types, keys.species or features.get("species")),
        positions=positions @ cell if direct else positions,
        cell=cell,
        pbc=pbc,
        energy=energy,
        forces=_floats(atoms, count, ("fx", "fy", "fz")) if has_forces else None,
        stress=None if plus_stress is None else stress_of_plus_stress(plus_stress, cell),
        weight=float(features.get("weight", 1.0)),
        group=features.get("group", ""),
        teacher=teacher_of(features),
    )


def _columns(atoms: dict[str, list[str]], count: int, *names: str) -> list[list[str]]:
    missing = [name for name in names if name not in atoms]
    if missing and count:
        raise Refused(f"no column {missing[0]} found in AtomData: correct the file")
    return [atoms.get(name, []) for name in names]


def _floats(atoms: dict[str, list[str]], count: int, names: tuple[str, ...]) -> np.ndarray:
    return np.array([list(map(float, column)) for column in _columns(atoms, count, *names)]).T


def _numbers(types: np.ndarray, species: str | None) -> np.ndarray:
    """Atomic numbers of types, which are places in the list of species."""
    if species is None:
        raise Refused(
            f"species are numbered (up to {types.max(initial=0)}), not named: name the elements "
            "in that order, as --key species=In,P"
        )
    names = [name.strip() for name in species.split(",")]
    unknown = [name for name in names if name not in atomic_numbers]
    if unknown:
        raise Refused(f"{unknown[0]!r} is no element: correct --key species={species}")
    if len(types) and not 0 <= types.min() <= types.max() < len(names):
        raise Refused(
            f"type {types.max()} found, but {len(names)} species were named ({species}): name "
            "them all with --key species="
        )
    return np.array([atomic_numbers[name] for name in names], np.int64)[types]


def stress_of_plus_stress(words: list[str], cell: np.ndarray) -> np.ndarray:
    """-PlusStress / volume (6,), rounded once; NaN where the cell has no volume."""
    volume = exact_volume(cell)
    if not volume or not volume.is_finite():
        return np.full(6, np.nan)
    with decimal.localcontext(prec=DIGITS):
        try:
            return np.array([float(-Decimal(word) / volume) for word in words])
        except decimal.InvalidOperation:
            raise Refused(f"PlusStress {' '.join(words)[:60]!r} found, numbers expected") from None


def exact_volume(cell: np.ndarray) -> Decimal:
    """|det cell| in A^3."""
    with decimal.localcontext(prec=DIGITS):
        (a, b, c), (d, e, f), (g, h, i) = [[Decimal(x) for x in row] for row in cell.tolist()]
        try:
            return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
        except decimal.InvalidOperation:
            return Decimal("NaN")
