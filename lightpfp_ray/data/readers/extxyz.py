"""Extended XYZ: a count of atoms, a line of key=value, a line an atom.

The grammar is that of libAtoms (https://github.com/libAtoms/extxyz) as ASE writes it: quotes,
braces and brackets hold values with blanks, `Properties=species:S:1:pos:R:3:forces:R:3` names the
columns. `Lattice` holds the three lattice vectors one after the other; without `pbc` it means
periodic along all. Only what is a label is converted, which makes this several times as fast as a
reader that keeps everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from ase.data import atomic_numbers

from ..keys import (
    Keys,
    Refused,
    chosen,
    energy_of,
    group_of,
    numbers_of,
    stress_of,
    teacher_of,
    weight_of,
)
from ..structure import Structure
from .text import Parts, in_blocks, limited, line_of, lines_of, opened
from .words import words_of

PATTERNS = ("*.extxyz", "*.xyz")

_ENTRY = re.compile(
    r"""(?:"((?:\\.|[^"\\])*)"|([^\s="']+))          # key
        \s*=\s*
        (?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\{([^{}]*)\}   # value with blanks
          |\[((?:[^\[\]]|\[[^\[\]]*\])*)\]|(\S+))""",
    re.VERBOSE,
)
_SIMPLE = re.compile(r"""([^\s="'\[\\]+)=(?:"([^"\[\]\\]*)"|([^\s"'{\[\]\\]+))(?:\s+|$)""")
_ALL_SIMPLE = re.compile(rf"\s*(?:{_SIMPLE.pattern})*")
"""What most files hold, and is read several times as fast: bare keys, values in double quotes or
without blanks.
"""

_TRUE = {"T": True, "TRUE": True, "1": True, "F": False, "FALSE": False, "0": False}
_PLAIN = "species:S:1:pos:R:3"
_SPECIES, _NUMBERS, _POSITIONS = {"species", "symbols"}, {"z", "numbers"}, {"pos", "positions"}


def read(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of a file; `part` starts at a byte."""
    with opened(path) as file:
        file.seek(part[0] if part else 0)
        for comment, lines in limited(_frames(file), part):
            yield _structure(comment, lines, keys)


def parts(path: Path, size: int) -> Parts:
    """Blocks, found by the counts of atoms alone; they start at bytes."""
    with opened(path) as file:
        return in_blocks(_offsets(file), size)


def _offsets(file: BinaryIO) -> Iterator[tuple[int, int]]:
    offset = 0
    while head := line_of(file):
        if head.isspace():
            offset += len(head)
            continue
        count = _count(head)
        lines = [line_of(file), *lines_of(file, count)]
        yield offset, count
        offset += len(head) + sum(map(len, lines))


def _frames(file: BinaryIO) -> Iterator[tuple[str, list[bytes]]]:
    while head := line_of(file):
        if not head.isspace():
            count = _count(head)
            yield line_of(file).decode(errors="replace"), lines_of(file, count)


def _count(head: bytes) -> int:
    try:
        return int(head)
    except ValueError:
        found = head.strip()[:40].decode(errors="replace")
        raise Refused(
            f"{found!r} found, a number of atoms expected: write it as extended XYZ"
        ) from None


def entries_of(comment: str) -> dict[str, str]:
    """Key -> text of its value, for every key=value of a comment line."""
    if _ALL_SIMPLE.fullmatch(comment):
        return {key: quoted or bare for key, quoted, bare in _SIMPLE.findall(comment)}
    return _entries_by_grammar(comment)


def _entries_by_grammar(comment: str) -> dict[str, str]:
    found = {}
    for match in _ENTRY.finditer(comment):
        quoted, bare, *values = match.groups()
        value = next((v for v in values if v is not None), "")
        if "\\" in value:
            value = re.sub(r"\\(.)", r"\1", value)
        found[bare if quoted is None else quoted] = value.replace("[", " ").replace("]", " ")
    return found


def _structure(comment: str, lines: list[bytes], keys: Keys) -> Structure:
    entries = entries_of(comment)
    table = _Table(lines, entries.pop("Properties", None))
    lattice = entries.pop("Lattice", None)
    cell = np.zeros((3, 3)) if lattice is None else numbers_of(lattice)
    if cell.size != 9:
        raise Refused(f"Lattice holds {cell.size} numbers, 9 expected: correct the file")
    cell = cell.reshape(3, 3)
    force_columns = chosen("forces", table.vectors, keys)
    return Structure(
        numbers=table.numbers(),
        positions=table.floats(*table.positions),
        cell=cell,
        pbc=_pbc(entries.pop("pbc", "F" if lattice is None else "T")),
        energy=energy_of(entries, keys),
        forces=None if force_columns is None else table.vectors[force_columns],
        stress=stress_of(entries, cell, keys),
        weight=weight_of(entries, keys),
        group=group_of(entries, keys),
        teacher=teacher_of(entries),
    )


def _pbc(text: str) -> np.ndarray:
    words = text.replace(",", " ").split()
    try:
        flags = [_TRUE[word.upper()] for word in words]
    except KeyError:
        flags = []
    if len(flags) not in (1, 3):
        raise Refused(f'pbc={text!r} found, "T T T" or the like expected: correct the file')
    return np.array(flags * (3 // len(flags)), bool)


class _Vectors(dict):
    """Columns of three real numbers by their name, converted when they are asked for."""

    def __init__(self, table: _Table) -> None:
        super().__init__((name, None) for name, (kind, _, n) in table.columns.items() if n == 3)
        self.table = table

    def __getitem__(self, name: str) -> np.ndarray:
        kind, first, count = self.table.columns[name]
        if (kind, count) != ("R", 3):
            raise Refused(f"{name}:{kind}:{count} found, {name}:R:3 expected: correct the file")
        return self.table.floats(first, count)


class _Table:
    """The lines of the atoms of a structure, in columns."""

    def __init__(self, lines: list[bytes], properties: str | None) -> None:
        self.columns, self.width = _columns(properties or _PLAIN)
        if properties is None:
            lines = [b" ".join(line.split()[:4]) + b" " for line in lines]
        self.count = len(lines)
        self.words = words_of(b"".join(lines))
        if len(self.words) != self.width * self.count:
            raise Refused(
                f"{len(self.words)} columns found in the lines of {self.count} atoms, "
                f"{self.width} expected in each: correct Properties, or write the file again"
            )
        self.vectors = _Vectors(self)

    def floats(self, first: int, count: int) -> np.ndarray:
        """Columns as float64: (N, count)."""
        return self.words.reals(first, self.width, count)

    @property
    def positions(self) -> tuple[int, int]:
        """First of the columns of positions, and 3."""
        column = self._column(_POSITIONS)
        if column is None or column[2] != 3:
            raise Refused("no pos:R:3 found in Properties: correct the file")
        return column[1:]

    def numbers(self) -> np.ndarray:
        """Atomic numbers (N,)."""
        column, number = self._column(_NUMBERS), int
        if column is None:
            column, number = self._column(_SPECIES), _number
        if column is None:
            raise Refused("no species:S:1 found in Properties: correct the file")
        different, codes = self.words.distinct(column[1], self.width)
        return np.array([number(word) for word in different], np.int64)[codes]

    def _column(self, names: set[str]) -> tuple[str, int, int] | None:
        return next((c for name, c in self.columns.items() if name.lower() in names), None)


@lru_cache(1024)
def _columns(properties: str) -> tuple[dict[str, tuple[str, int, int]], int]:
    """Name -> (kind, first column, how many), and how many there are in all."""
    words = properties.split(":")
    found, width = {}, 0
    try:
        for name, kind, count in zip(words[::3], words[1::3], words[2::3], strict=True):
            found[name] = (kind, width, int(count))
            width += int(count)
    except ValueError:
        raise Refused(
            f"Properties={properties[:80]} found, name:type:columns expected: correct the file"
        ) from None
    return found, width


@lru_cache(1024)
def _number(symbol: bytes) -> int:
    name = symbol.decode(errors="replace")
    number = atomic_numbers.get(name.capitalize())
    if number is None:
        raise Refused(f"unknown element {name!r}: correct the file")
    return number
