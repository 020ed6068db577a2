"""A potential on disk: a folder of potential.json (shape, units, origin), weights.safetensors and,
where it has an extrapolation grade, active_set.safetensors; no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from .errors import UserError
from .files import write_atomically
from .grade import ACTIVE_SET, ActiveSet, load_active_set
from .mlip_format import SUFFIXES, read_cutoff, read_mtp
from .mtp.model import MTP

if TYPE_CHECKING:
    from .calculator import MTPCalculator

HEAD = "potential.json"
"""What a potential's folder is known by."""

FORMAT = 2
"""Version of the folder's layout; a reader refuses a later one."""


@dataclass(frozen=True)
class Potential:
    """A trained potential and what is known of its making."""

    model: MTP
    origin: dict[str, Any]
    active_set: ActiveSet | None = None  # what the extrapolation grade is measured by

    def calculator(self) -> MTPCalculator:
        """An ASE calculator: energy, free_energy, energies, forces, stress, stresses, and with an
        active set grade and grades.
        """
        from .calculator import MTPCalculator

        return MTPCalculator(self.model, self.active_set)

    def save(self, folder: Path) -> None:
        """Write the files, the weights first; a reader never sees half of one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ACTIVE_SET).unlink(missing_ok=True)
        state = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        write_atomically(folder / "weights.safetensors", save(state))
        head = {
            "format": FORMAT,
            "units": {"length": "A", "energy": "eV"},
            "shape": self.model.shape(),
            "origin": self.origin,
        }
        write_atomically(folder / HEAD, json.dumps(head, indent=1).encode())
        if self.active_set:
            self.active_set.save(folder)


def load(path: str | Path, species: Sequence[int] | None = None) -> Potential:
    """A potential from its folder, from an output folder that holds one, or from a .mtp / .almtp
    file.

    `species`: atomic numbers in the file's order, for files that only number their species. Raises
    UserError.
    """
    path = Path(path)
    if path.is_file() and path.suffix in SUFFIXES:
        return Potential(read_mtp(path, species), {"file": str(path)})
    folder = folder_of(path)
    head = _head(folder)
    try:
        state = load_file(folder / "weights.safetensors")
        model = MTP.of_shape(head["shape"]).to(state["species_coeffs"].dtype)
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{folder}: the weights do not fit potential.json: {str(error).splitlines()[0]}"
        ) from None
    return Potential(model, head.get("origin", {}), load_active_set(folder, model))


def folder_of(path: Path) -> Path:
    """The potential's own folder, in an output folder or by itself."""
    return path / "potential" if (path / "potential" / HEAD).exists() else path


def _head(folder: Path) -> dict[str, Any]:
    file = folder / HEAD
    try:
        head = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no potential here: expected a folder with potential.json, or a .mtp file"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    if head.get("format") != FORMAT:
        raise UserError(
            f"{file}: format {head.get('format')} found, this version reads {FORMAT}: use a "
            "newer lightpfp_ray"
        )
    return head


def cutoff_of(path: str | Path) -> float:
    """The cutoff in A of the potential that `load` would read there. Raises UserError."""
    path = Path(path)
    if path.is_file() and path.suffix in SUFFIXES:
        return read_cutoff(path)
    return float(_head(folder_of(path))["shape"]["radial"]["cutoff"])


def load_for(path: str | Path, species: Sequence[int]) -> MTP:
    """What a training goes on from: the potential of `path` for the species of the data, in that
    order.

    A file of one species that it only numbers is taken to be of the data's, where that is one.
    Raises UserError.
    """
    try:
        potential = load(path)
    except UserError:
        if len(species) != 1:
            raise
        potential = load(path, species)
    return restricted(potential.model, species)


def restricted(model: MTP, species: Sequence[int]) -> MTP:
    """The same potential with the parameters of `species` only, in that order. Raises UserError for
    one it lacks.
    """
    missing = sorted(set(species) - set(model.species))
    if missing:
        raise UserError(
            f"the potential has no parameters for atomic numbers {missing}; it knows "
            f"{list(model.species)}"
        )
    shape = {**model.shape(), "species": list(species)}
    rows = torch.tensor([model.species.index(z) for z in species])
    state = model.state_dict()
    state["species_coeffs"] = state["species_coeffs"][rows]
    state["radial_coeffs"] = state["radial_coeffs"][rows][:, rows]
    smaller = MTP.of_shape(shape).to(model.dtype)
    smaller.load_state_dict(state)
    return smaller
