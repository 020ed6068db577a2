"""The files that a cache is made of, and the key that it is found by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from . import flat, read, schema
from .filter import NO_LIMITS, Limits
from .keys import KNOWN_NAMES, Keys


@dataclass(frozen=True)
class Options:
    """What decides, beside the files, what a cache holds."""

    cutoff: float  # A
    max_energy: float  # eV per atom
    max_forces: float  # eV/A
    seed: int
    test_fraction: float | None  # None: the test set is given
    limits: Limits = NO_LIMITS
    keys: Keys = KNOWN_NAMES


class Input(NamedTuple):
    """A file of labelled structures."""

    role: str  # "data" or "test-data"
    path: Path
    sha256: str  # of its content


def inputs_of(data: Sequence[str], test_data: Sequence[str]) -> list[Input]:
    """The files that arguments name. Raises UserError where one cannot be read, or data has
    none.
    """
    roles = (("data", data), ("test-data", test_data))
    found = [
        Input(role, path, _sha256(path)) for role, args in roles for path in read.expand_paths(args)
    ]
    if not any(file.role == "data" for file in found):
        raise UserError(
            "no data given, expected files, folders or globs of labelled structures: name "
            "them with --data"
        )
    return found


def fingerprint(files: Sequence[Input], options: Options) -> str:
    """Content, name and role of the files, in any order; options; versions of the code that reads
    and writes them.

    The name counts because it tells the format, and because sources are named by it.
    """
    inputs = sorted((file.role, file.sha256, file.path.name) for file in files)
    versions = [schema.VERSION, flat.VERSION, read.VERSION]
    key = json.dumps([inputs, sorted(asdict(options).items()), versions])
    return hashlib.sha256(key.encode()).hexdigest()


def hashes(files: Sequence[Input]) -> dict[str, str]:
    """Path -> sha256 of its content."""
    return {str(file.path): file.sha256 for file in files}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give a readable file"
        ) from error
