"""Text files, plain or compressed, cut in blocks of whole structures."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ..keys import Refused

MAX_ATOMS = 10_000_000
"""A structure that claims more is a damaged one."""

MAX_LINE = 2**20
"""Bytes; a longer line is no text."""

BLOCK_ATOMS = 25_000
"""A block ends with the structure that brings it to so many atoms: this bounds the memory of a
task, most of which is the edges.
"""

Parts = list[tuple[int, int, int]]
"""(start, count, number of the first structure) of each block."""


def opened(path: Path) -> BinaryIO:
    """A file to read bytes from; `.gz` and `.xz` are unpacked on the way. Offsets are those of the
    unpacked bytes.
    """
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"), 2**18)
    if path.suffix == ".xz":
        return io.BufferedReader(lzma.open(path, "rb"), 2**18)
    return path.open("rb", 2**18)


def bare_name(path: Path) -> str:
    """The name without the suffix of a compression."""
    return path.name.removesuffix(".gz").removesuffix(".xz")


def head(path: Path, size: int = 4096) -> bytes:
    """The first bytes, unpacked; nothing where they cannot be read."""
    try:
        with opened(path) as file:
            return file.read(size)
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return b""


def line_of(file: BinaryIO) -> bytes:
    """The next line, b"" at the end of the file."""
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise Refused(f"a line of more than {MAX_LINE} bytes found, text expected")
    return line


def lines_of(file: BinaryIO, count: int) -> list[bytes]:
    """The next lines. Raises Refused where the file ends before, or the count is absurd."""
    if not 0 <= count <= MAX_ATOMS:
        raise Refused(f"{count} atoms found, at most {MAX_ATOMS} expected: write the file again")
    lines = list(islice(file, count))
    if len(lines) < count:
        raise Refused(
            f"it is cut off ({len(lines)} of {count} lines of atoms are there): write the file "
            "again"
        )
    return lines


def in_blocks(structures: Iterable[tuple[int, int]], size: int) -> Parts:
    """Blocks of at most `size` structures, given (offset, atoms) of each."""
    parts: Parts = []
    number = atoms = count = first = start = 0
    try:
        for offset, n_atoms in structures:
            if count == size or (count and atoms >= BLOCK_ATOMS):
                parts.append((start, count, first))
                count = 0
            if count == 0:
                start, first, atoms = offset, number, 0
            count += 1
            number += 1
            atoms += n_atoms
    except Refused as refused:
        refused.number = number
        raise
    return [*parts, (start, count, first)] if count else [(0, 0, 0)]


def even_blocks(count: int, atoms: int, size: int) -> Parts:
    """Blocks of `count` structures of about so many atoms each, counted from 0."""
    return in_blocks(((number, atoms) for number in range(count)), size)


def limited(structures: Iterator, part: tuple[int, int] | None) -> Iterator:
    """As many as the part holds."""
    return structures if part is None else islice(structures, part[1])
