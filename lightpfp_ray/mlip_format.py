"""MLIP's potential files: .mtp (MLIP-2) and .almtp (MLIP-3), text with `key = value` lines.

The species of such a file are indices, or atomic numbers where MLIP-3 was asked for them; what
follows the last known key (an active set, partly binary) is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .errors import UserError
from .mtp.levels import Basis
from .mtp.model import MTP, RadialShape

_FIELD = re.compile(r"^\s*(\w+)[ \t]*=[ \t]*(.*?)\s*$", re.M)
_PAIR = re.compile(r"^\s*(\d+)-(\d+)\s*$", re.M)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_RADIAL_TYPES = ("RBChebyshev", "RBChebyshev_repuls")


@dataclass(frozen=True)
class _File:
    """The text before any binary block, and its fields."""

    path: Path
    text: str
    fields: dict[str, str]

    def number(self, key: str) -> float:
        return float(self.field(key))

    def field(self, key: str) -> str:
        if key not in self.fields:
            raise UserError(
                f"{self.path}: no `{key}` found; expected an MTP file of MLIP-2 or MLIP-3 "
                "with all its fields"
            )
        return self.fields[key]

    def numbers(self, key: str) -> list[str]:
        return _NUMBER.findall(self.field(key))

    def rows(self, key: str) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(row) for row in np.array(self.numbers(key), dtype=int).reshape(-1, 4).tolist()
        )


def read_mtp(path: str | Path, species: Sequence[int] | None = None) -> MTP:
    """The potential of a file. `species`: atomic numbers in the file's order; not needed where the
    file names them.

    Raises UserError for a file of another kind, and where the species are not known.
    """
    file = _read(Path(path))
    kind = file.field("radial_basis_type")
    if kind not in _RADIAL_TYPES:
        raise UserError(
            f"{path}: radial_basis_type {kind} found, expected one of {', '.join(_RADIAL_TYPES)}"
        )
    labels, coeffs_CCRQ = _radial_coeffs(file)
    n_components = int(file.number("alpha_index_basic_count"))
    components = file.rows("alpha_index_basic")
    if len(components) != n_components:
        raise UserError(
            f"{path}: {len(components)} rows of alpha_index_basic found, "
            f"alpha_index_basic_count is {n_components}"
        )
    basis = Basis(
        components,
        file.rows("alpha_index_times"),
        tuple(int(i) for i in file.numbers("alpha_moment_mapping")),
    )
    radial = RadialShape(
        cutoff=file.number("max_dist"),
        min_dist=file.number("min_dist"),
        n_q=coeffs_CCRQ.shape[-1],
        scaling=float(file.fields.get("scaling", 1.0)),
        repulsion=kind.endswith("_repuls"),
    )
    model = MTP(_species(file, labels, species), basis, radial)
    with torch.no_grad():
        model.radial_coeffs.copy_(torch.from_numpy(coeffs_CCRQ))
        model.species_coeffs.copy_(_doubles(file, "species_coeffs"))
        model.readout.weight_B.copy_(_doubles(file, "moment_coeffs"))
    return model


def _doubles(file: _File, key: str) -> torch.Tensor:
    return torch.tensor([float(x) for x in file.numbers(key)], dtype=torch.float64)


def _read(path: Path) -> _File:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    text = raw.split(b"#MVS", 1)[0].decode("ascii", "replace")
    if not text.lstrip().startswith("MTP"):
        raise UserError(f"{path}: not an MTP file: the first line must be `MTP`")
    return _File(path, text, dict(_FIELD.findall(text)))


def _radial_coeffs(file: _File) -> tuple[list[int], np.ndarray]:
    """Labels of the species in the file's order, and c (C, C, R, Q)."""
    c, r = int(file.number("species_count")), int(file.number("radial_funcs_count"))
    q = int(file.number("radial_basis_size"))
    block = file.text.split("radial_coeffs", 1)[-1].split("alpha_moments_count", 1)[0]
    pairs = [(int(a), int(b)) for a, b in _PAIR.findall(block)]
    values = [np.array(_NUMBER.findall(part), dtype=float) for part in _PAIR.split(block)[3::3]]
    labels = list(dict.fromkeys(a for a, _ in pairs))
    if len(pairs) != c * c or len(labels) != c or any(v.size != r * q for v in values):
        raise UserError(
            f"{file.path}: radial_coeffs hold {len(pairs)} pairs, expected {c * c} of {r} x "
            f"{q} numbers"
        )
    coeffs = np.empty((c, c, r, q))
    for (a, b), v in zip(pairs, values, strict=True):
        coeffs[labels.index(a), labels.index(b)] = v.reshape(r, q)
    return labels, coeffs


def _species(file: _File, labels: list[int], given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        if len(given) != len(labels):
            raise UserError(f"{file.path} holds {len(labels)} species, but {len(given)} were named")
        return tuple(given)
    if labels == list(range(len(labels))):
        raise UserError(
            f"{file.path} labels its species 0 to {len(labels) - 1}: name their atomic "
            "numbers with species=[...]"
        )
    return tuple(labels)
