"""Files -> structures: a registry of readers, found by how a file begins and by its name.

A large file is cut in blocks that are read by themselves, in parallel. Structures are numbered from
0 in their file: `Si.extxyz#12` is what ASE calls `Si.extxyz@12`. ASE reads what no other reader
claims. Nothing that can run code is read.
"""

from __future__ import annotations

import difflib
import fnmatch
import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from . import ase_files
from .keys import KNOWN_NAMES, Keys, Refused
from .readers import extxyz, hdf5, mlip_cfg, parquet, vasp
from .readers.text import Parts, bare_name, head
from .structure import Structure

VERSION = 2
"""Raised when the same file gives other structures than before; part of the key of the cache."""

BLOCK = 2000
"""Structures that are read by one task."""


@dataclass(frozen=True)
class Reader:
    """How one kind of file is read; see `readers`."""

    name: str
    patterns: tuple[str, ...]  # of file names; those that are taken from a folder
    read: Callable[[Path, tuple[int, int] | None, Keys], Iterator[Structure]]
    parts: Callable[[Path, int], Parts] | None = None
    magic: tuple[bytes, ...] = ()  # how such a file begins, whatever its name

    def match(self, path: Path) -> bool:
        """Whether the name is of this kind, apart from the suffix of a compression."""
        return any(fnmatch.fnmatch(bare_name(path), pattern) for pattern in self.patterns)


ASE = Reader("ase", ase_files.PATTERNS, ase_files.read)
READERS = (
    Reader("hdf5", hdf5.PATTERNS, hdf5.read, hdf5.parts, (hdf5.MAGIC,)),
    Reader("parquet", parquet.PATTERNS, parquet.read, parquet.parts, (parquet.MAGIC,)),
    Reader(
        "traj",
        ("*.traj",),
        ase_files.read_trajectory,
        ase_files.trajectory_parts,
        (b"- of UlmASE-Trajectory", b"AFFormatASE-Trajectory"),
    ),
    Reader(
        "db",
        ("*.db",),
        ase_files.read_database,
        ase_files.database_parts,
        (b"SQLite format 3\0",),
    ),
    Reader("cfg", mlip_cfg.PATTERNS, mlip_cfg.read, mlip_cfg.parts, (b"BEGIN_CFG",)),
    Reader("vasprun", vasp.XML_PATTERNS, vasp.read_xml, vasp.xml_parts),
    Reader("outcar", vasp.OUTCAR_PATTERNS, vasp.read_outcar, vasp.outcar_parts, (b" vasp.",)),
    Reader("extxyz", extxyz.PATTERNS, extxyz.read, extxyz.parts),
    ASE,
)

CODE = {
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"PK\x03\x04": "a zip archive (.npz, .pt)",
    b"\x93NUMPY": "a NumPy array file",
}
"""How files begin that can hold code, or that are no structures."""


@dataclass(frozen=True)
class Block:
    """Some structures of a file, or all."""

    path: Path
    label: str  # names the file in `Structure.source`
    part: tuple[int, int] | None = None
    first: int = 0  # number of the first structure
    keys: Keys = KNOWN_NAMES


def reader_of(path: Path) -> Reader:
    """The reader whose mark the file begins with, else the first that claims its name, else, for a
    first line that is a count of atoms, that of extended XYZ, else ASE.

    Raises UserError for a file that can hold code.
    """
    start = head(path)
    kind = next((kind for mark, kind in CODE.items() if start.startswith(mark)), None)
    if kind:
        raise UserError(
            f"{path} is {kind}, which is not read: convert it to extended XYZ, HDF5 or Parquet"
        )
    marked = (r for r in READERS if any(start.lstrip(b"\r\n").startswith(m) for m in r.magic))
    named = (reader for reader in READERS if reader.match(path))
    found = next(marked, None) or next(named, None)
    if found is None and start.split(b"\n")[0].strip().isdigit():
        return next(reader for reader in READERS if reader.name == "extxyz")
    return found or ASE


def expand_paths(args: Iterable[str]) -> list[Path]:
    """Files named by paths, globs and folders, absolute, each once, in order of the arguments.

    A folder stands for the files in it, at any depth, whose names a reader knows. Raises UserError
    where an argument names no file.
    """
    found = [path.resolve() for arg in args for path in _expand(str(arg))]
    return list(dict.fromkeys(found))


def read_structures(path: Path, keys: Keys = KNOWN_NAMES) -> Iterator[Structure]:
    """All structures of a file, in its order. Raises UserError where it cannot be read or holds
    none.
    """
    path = Path(path)
    yield from read_block(Block(path, path.name, keys=keys))


def read_block(block: Block) -> Iterator[Structure]:
    """The structures of a block, a stress only where it is defined: periodic along three vectors.

    Raises UserError where the block cannot be read or holds none.
    """
    for structure in read_as_written(block):
        yield structure if structure.pbc.all() else replace(structure, stress=None)


def read_as_written(block: Block) -> Iterator[Structure]:
    """The structures of a block with all that the file says of them. Raises UserError."""
    structures = reader_of(block.path).read(block.path, block.part, block.keys)
    for number, structure in enumerate(_explained(block, structures), block.first):
        yield replace(structure, source=f"{block.label}#{number}")


def blocks_of(
    path: Path,
    label: str,
    size: int = BLOCK,
    keys: Keys = KNOWN_NAMES,
) -> list[Block]:
    """The file cut in blocks of at most `size` structures, or one where it cannot be cut. Raises
    UserError where the file is damaged or no data.
    """
    reader = reader_of(path)
    if reader.parts is None:
        return [Block(path, label, keys=keys)]
    try:
        found = reader.parts(path, size)
    except Exception as error:
        raise _unreadable(path, error, getattr(error, "number", None)) from error
    return [Block(path, label, (start, count), first, keys) for start, count, first in found]


def labels_of(paths: Iterable[Path]) -> dict[Path, str]:
    """How files are called in `Structure.source`: by their names, or in full where two share
    one.
    """
    paths = set(paths)
    names = Counter(path.name for path in paths)
    return {path: path.name if names[path.name] == 1 else str(path) for path in paths}


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
    if isinstance(error, Refused):
        return UserError(f"{path} cannot be read{where}: {first}")
    why = f"{type(error).__name__}: {first}".removesuffix(": ")[:300]
    return UserError(f"{path} cannot be read{where} ({why}): give a whole file of its format")


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
