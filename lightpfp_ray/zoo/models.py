"""Where the weights of a pretrained model are: NAME.json and NAME.safetensors, in this package's
folder `weights` or in the one that the environment variable LIGHTPFP_RAY_ZOO names.

The two files hold what a potential's folder does, in float32, and many radial coefficients packed
(`packing`).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import UserError

FOLDER = "LIGHTPFP_RAY_ZOO"
"""Environment variable: a folder that is looked into before the package's own."""

PACKAGED = Path(__file__).parent / "weights"

NAMES = (
    "ALL_ELEMENTS_SMALL_5",
    "ALL_ELEMENTS_SMALL_6",
    "ALL_ELEMENTS_SMALL_7",
    "ALL_ELEMENTS_LARGE_5",
    "ALL_ELEMENTS_LARGE_6",
    "ALL_ELEMENTS_LARGE_7",
    "ALL_ELEMENTS_SMALL_NN_6",
    "ORGANIC",
    "ORGANIC_SMALL_NN",
)


def folders() -> list[Path]:
    """Where weights are looked for, in order."""
    given = os.environ.get(FOLDER)
    return [*([Path(given)] if given else []), PACKAGED]


def found(name: str) -> tuple[Path, Path] | None:
    """Head and weights of a name, or None where they are not shipped."""
    for folder in folders():
        pair = folder / f"{name}.json", folder / f"{name}.safetensors"
        if all(file.is_file() for file in pair):
            return pair
    return None


def present() -> list[str]:
    """The names that have weights."""
    return [name for name in NAMES if found(name)]


def files_of(name: str) -> tuple[Path, Path]:
    """Head and weights of a name. Raises UserError where they are not shipped."""
    pair = found(name)
    if pair is None:
        raise UserError(
            f"the weights of {name} are not part of this version, which has "
            f"{', '.join(present()) or 'none'}: name another pretrained_model, or set it to "
            '"" to train from scratch'
        )
    return pair


def version_of(name: str) -> str:
    """A short hash of the weights: another training of the same name has another."""
    return hashlib.sha256(files_of(name)[1].read_bytes()).hexdigest()[:12]
