"""Files -> structures: a registry of readers; ASE reads what no other reader claims.

A reader may cut a large file in blocks that are read by themselves, in parallel. Structures are
numbered from 0 in their file: `Si.extxyz#12` is what ASE calls `Si.extxyz@12`.
"""

from __future__ import annotations

import difflib
import fnmatch
import glob
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from . import ase_files
from .structure import Structure

VERSION = 1
"""Raised when the same file gives other structures than before; part of the key of the cache."""

BLOCK = 2000
"""Structures that are read by one task."""


@dataclass(frozen=True)
class Reader:
    """How one kind of file is read. Part of a file: (start, stop), in whatever unit its `parts`
    counts.
    """

    name: str
    patterns: tuple[str, ...]  # of file names; those that are taken from a folder
    read: Callable[[Path, tuple[int, int] | None], Iterator[Structure]]  # of a part, or of all
    parts: Callable[[Path, int], list[tuple[int, int, int]]] | None = (
        None  # (start, stop, number of the first)
    )

    def match(self, path: Path) -> bool:
        return any(fnmatch.fnmatch(path.name, pattern) for pattern in self.patterns)


ASE = Reader("ase", ase_files.PATTERNS, ase_files.read)
READERS = (
    Reader("extxyz", ("*.extxyz", "*.xyz"), ase_files.read_extxyz, ase_files.extxyz_parts),
    Reader("traj", ("*.traj",), ase_files.read, ase_files.trajectory_parts),
    ASE,
)


@dataclass(frozen=True)
class Block:
    """Some structures of a file, or all."""

    path: Path
    label: str  # names the file in `Structure.source`
    part: tuple[int, int] | None = None
    first: int = 0  # number of the first structure


def reader_of(path: Path) -> Reader:
    """The first reader that claims the file, ASE otherwise."""
    return next((reader for reader in READERS if reader.match(path)), ASE)


def expand_paths(args: Iterable[str]) -> list[Path]:
    """Files named by paths, globs and folders, absolute, each once, in order of the arguments.

    A folder stands for the files in it, at any depth, whose names a reader knows. Raises UserError
    where an argument names no file.
    """
    found = [path.resolve() for arg in args for path in _expand(str(arg))]
    return list(dict.fromkeys(found))


def read_structures(path: Path) -> Iterator[Structure]:
    """All structures of a file, in its order. Raises UserError where it cannot be read or holds
    none.
    """
    path = Path(path)
    yield from read_block(Block(path, path.name))


def read_block(block: Block) -> Iterator[Structure]:
    """The structures of a block. Raises UserError where it cannot be read or holds none."""
    number = block.first
    structures = _explained(block, reader_of(block.path).read(block.path, block.part))
    for number, structure in enumerate(structures, block.first):
        yield replace(structure, source=f"{block.label}#{number}")


def blocks_of(path: Path, label: str, size: int = BLOCK) -> list[Block]:
    """The file cut in blocks of at most `size` structures, or one where it cannot be cut."""
    reader = reader_of(path)
    if reader.parts is None:
        return [Block(path, label)]
    try:
        return [
            Block(path, label, (start, stop), first)
            for start, stop, first in reader.parts(path, size)
        ]
    except UserError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _explained(block: Block, structures: Iterator[Structure]) -> Iterator[Structure]:
    """The same structures; whatever goes wrong in a reader is said in one line."""
    count = 0
    try:
        for structure in structures:
            count += 1
            yield structure
    except UserError:
        raise
    except GeneratorExit:
        raise
    except Exception as error:
        raise _unreadable(block.path, error, block.first + count) from error
    if count == 0:
        raise UserError(
            f"{block.path} holds no structure: remove it from the data, or give a file that "
            "holds some"
        )


def _unreadable(path: Path, error: Exception, number: int | None = None) -> UserError:
    if path.exists() and path.stat().st_size == 0:
        return UserError(f"{path} is empty: remove it from the data, or write it again")
    where = "" if number is None else f" at structure {number}"
    first = (str(error).splitlines() or [""])[0].strip()
    why = (
        f"unknown element {first}"
        if isinstance(error, KeyError)
        else f"{type(error).__name__}: {first}".removesuffix(": ")
    )
    return UserError(
        f"{path} cannot be read{where} ({why}): give a whole file of a format that ase.io reads"
    )


def _expand(arg: str) -> list[Path]:
    path = Path(arg).expanduser()
    if path.is_dir():
        return _files_of_folder(path)
    if path.exists():
        return [path]
    if glob.has_magic(arg):
        hits = sorted(Path(hit) for hit in glob.glob(str(path), recursive=True))
        if hits:
            return [
                file for hit in hits for file in (_files_of_folder(hit) if hit.is_dir() else [hit])
            ]
        raise UserError(f"{arg} matches no file: correct the pattern")
    raise UserError(f"{arg}: no such file or folder.{_did_you_mean(path)}")


def _files_of_folder(folder: Path) -> list[Path]:
    known = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and any(reader.match(p) for reader in READERS)
    ]
    files = [
        p for p in known if not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    if not files:
        patterns = ", ".join(
            dict.fromkeys(pattern for reader in READERS for pattern in reader.patterns)
        )
        raise UserError(
            f"{folder} holds no file of labelled structures ({patterns}): name the files themselves"
        )
    return files


def _did_you_mean(path: Path) -> str:
    if not path.parent.is_dir():
        return f" Nor is there a folder {path.parent}."
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f" Did you mean {path.parent / near[0]}?" if near else " Correct the path."
