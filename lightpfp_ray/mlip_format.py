"""MLIP's potential files: .mtp (MLIP-2, motep) and .almtp (MLIP-3), text with `key = value` lines.

The species of such a file are indices, or atomic numbers where MLIP-3 was asked for them. Files
written here number them, which every code reads, and name the elements in `potential_tag`, which
MLIP and motep pass over. What follows the last known key (an active set, partly binary) is not
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from .errors import UserError
from .files import write_atomically
from .mtp.levels import Basis
from .mtp.model import MTP, RadialShape

_FIELD = re.compile(r"^\s*(\w+)[ \t]*=[ \t]*(.*?)\s*$", re.M)
_PAIR = re.compile(r"^\s*(\d+)-(\d+)\s*$", re.M)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_RADIAL_TYPES = ("RBChebyshev", "RBChebyshev_repuls")
_TAG = "species"
"""First word of the `potential_tag` that names the elements: "species In P"."""

SUFFIXES = (".mtp", ".almtp")


@dataclass(frozen=True)
class _File:
    """The text before any binary block, and its fields."""

    path: Path
    text: str
    fields: dict[str, str]

    def number(self, key: str, also: str = "") -> float:
        """The value of a key, which motep calls `also`."""
        return float(self.field(also if also in self.fields else key))

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
        cutoff=file.number("max_dist", "max"),
        min_dist=file.number("min_dist", "min"),
        n_q=coeffs_CCRQ.shape[-1],
        scaling=float(file.fields.get("scaling", 1.0)),
        repulsion=kind.endswith("_repuls"),
    )
    model = MTP(_species(file, labels, species), basis, radial)
    with torch.no_grad():
        model.radial_coeffs.copy_(torch.from_numpy(coeffs_CCRQ))
        model.species_coeffs.copy_(_doubles(file, "species_coeffs"))
        model.readout.moment_coeffs.copy_(_doubles(file, "moment_coeffs"))
    return model


def read_cutoff(path: str | Path) -> float:
    """The cutoff of a file in A, whether or not it names its species."""
    return _read(Path(path)).number("max_dist", "max")


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
    q = int(file.number("radial_basis_size", "size"))
    block = _FIELD.split(file.text.split("radial_coeffs", 1)[-1], maxsplit=1)[0]
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
    """Atomic numbers in the file's order: what the file says, else what was given."""
    named = _named(file, labels)
    if named is None and given is None:
        raise UserError(
            f"{file.path} labels its species 0 to {len(labels) - 1}: name their atomic "
            "numbers with species=[...] or --species, or write them into a file with "
            "`lightpfp-ray export FILE NEW.mtp --species ...`"
        )
    if given is not None and len(given) != len(labels):
        raise UserError(f"{file.path} holds {len(labels)} species, but {len(given)} were named")
    if None not in (named, given) and tuple(given) != named:
        raise UserError(
            f"{file.path} says that its species are {list(named)}, but {list(given)} were named: "
            "leave them out"
        )
    return named or tuple(given)


def _named(file: _File, labels: list[int]) -> tuple[int, ...] | None:
    """Atomic numbers where the labels are them, or the tag names the elements."""
    if labels != list(range(len(labels))):
        return tuple(labels)
    tag = file.fields.get("potential_tag", "").split()
    names = tag[1:]
    if tag[:1] != [_TAG] or len(names) != len(labels) or not set(names) <= set(atomic_numbers):
        return None
    return tuple(atomic_numbers[name] for name in names)


def write_mtp(path: str | Path, model: MTP) -> None:
    """Write a file that MLIP-2, MLIP-3 and motep read, whole or not at all; `read_mtp` gives the
    same doubles back.

    Raises UserError for a neural readout, which these files cannot hold, and where the file cannot
    be written.
    """
    path = Path(path)
    if model.widths:
        raise UserError(
            f"the potential has a neural readout ({', '.join(map(str, model.widths))} neurons), "
            "which a .mtp file cannot hold: train with mtp_config.nn_dim_list [] to export it"
        )
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    try:
        write_atomically(path, "\n".join(_lines(model)).encode() + b"\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def _lines(model: MTP) -> Iterator[str]:
    """The file, in the order in which MLIP's reader asks for it."""
    radial, basis = model.radial, model.basis
    yield "MTP"
    yield "version = 1.1.0"
    yield "potential_name = lightpfp_ray"
    yield f"scaling = {_double(radial.scaling)}"
    yield f"species_count = {len(model.species)}"
    yield f"potential_tag = {' '.join([_TAG, *(chemical_symbols[z] for z in model.species)])}"
    yield f"radial_basis_type = {_RADIAL_TYPES[radial.repulsion]}"
    yield f"\tmin_dist = {_double(radial.min_dist)}"
    yield f"\tmax_dist = {_double(radial.cutoff)}"
    yield f"\tradial_basis_size = {radial.n_q}"
    yield f"\tradial_funcs_count = {basis.n_radial}"
    yield "\tradial_coeffs"
    for a, rows_CRQ in enumerate(model.radial_coeffs.tolist()):
        for b, rows_RQ in enumerate(rows_CRQ):
            yield f"\t\t{a}-{b}"
            yield from (f"\t\t\t{_braced(map(_double, row_Q))}" for row_Q in rows_RQ)
    yield f"alpha_moments_count = {basis.n_moments}"
    yield f"alpha_index_basic_count = {len(basis.components)}"
    yield f"alpha_index_basic = {_braced(map(_braced, basis.components))}"
    yield f"alpha_index_times_count = {len(basis.products)}"
    yield f"alpha_index_times = {_braced(map(_braced, basis.products))}"
    yield f"alpha_scalar_moments = {len(basis.scalars)}"
    yield f"alpha_moment_mapping = {_braced(basis.scalars)}"
    yield f"species_coeffs = {_braced(map(_double, model.species_coeffs.tolist()))}"
    yield f"moment_coeffs = {_braced(map(_double, model.readout.moment_coeffs.tolist()))}"


def _double(value: float) -> str:
    """17 significant digits: the same double when it is read."""
    return f"{value:.16e}"


def _braced(values: Iterable) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
