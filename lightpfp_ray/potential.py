"""A potential on disk: a folder of potential.json (shape, units, origin), weights.safetensors and,
where it has an extrapolation grade, active_set.safetensors; no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ase.data import chemical_symbols
from safetensors import SafetensorError
from safetensors.torch import save as plain
from torch import Tensor

from .errors import UserError
from .files import write_atomically
from .grade import ACTIVE_SET, ActiveSet, load_active_set
from .mlip_format import SUFFIXES, read_cutoff, read_mtp
from .mtp.model import MTP
from .zoo import models, packing

if TYPE_CHECKING:
    from .calculator import MTPCalculator

HEAD, WEIGHTS = "potential.json", "weights.safetensors"
"""What a potential's folder holds; it is known by the first."""

MOST_NAMED = 40
"""Elements that are listed one by one."""

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
        self.write(folder / HEAD, folder / WEIGHTS)
        if self.active_set:
            self.active_set.save(folder)

    def write(
        self, file: Path, weights: Path, encoded: Callable[[dict[str, Tensor]], bytes] = plain
    ) -> None:
        """Head and weights, under these names; `encoded` makes the content of the second."""
        state = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        write_atomically(weights, encoded(state))
        head = {
            "format": FORMAT,
            "units": {"length": "A", "energy": "eV"},
            "shape": self.model.shape(),
            "origin": self.origin,
        }
        write_atomically(file, json.dumps(head, indent=1).encode())


def load(path: str | Path, species: Sequence[int] | None = None) -> Potential:
    """A potential from its folder, from an output folder that holds one, from a .mtp / .almtp file,
    or the pretrained one of that name.

    `species`: atomic numbers in the file's order, for files that only number their species. Raises
    UserError.
    """
    path = Path(path)
    if path.is_file() and path.suffix in SUFFIXES:
        return Potential(read_mtp(path, species), {"file": str(path)})
    file, weights = files_of(path)
    head = _head(file)
    try:
        state = packing.read(weights)
        model = MTP.of_shape(head["shape"]).to(state["species_coeffs"].dtype)
        model.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{file.parent}: the weights do not fit {file.name}: {str(error).splitlines()[0]}"
        ) from None
    return Potential(model, head.get("origin", {}), load_active_set(file.parent, model))


def files_of(path: Path) -> tuple[Path, Path]:
    """Head and weights: of the pretrained model of that name, or of a potential's folder."""
    if str(path) in models.NAMES and not path.exists():
        return models.files_of(str(path))
    folder = folder_of(path)
    return folder / HEAD, folder / WEIGHTS


def folder_of(path: Path) -> Path:
    """The potential's own folder, in an output folder or by itself."""
    return path / "potential" if (path / "potential" / HEAD).exists() else path


def _head(file: Path) -> dict[str, Any]:
    try:
        head = json.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{file.parent}: no potential here: expected a folder with {HEAD}, a .mtp file, or the "
            f"name of a pretrained model, as {models.NAMES[1]}"
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
    return float(_head(files_of(path)[0])["shape"]["radial"]["cutoff"])


def widths_of(path: str | Path) -> tuple[int, ...]:
    """Neurons of each hidden layer of that potential; () of a linear readout. Raises UserError."""
    path = Path(path)
    if path.is_file() and path.suffix in SUFFIXES:
        return ()
    return tuple(_head(files_of(path)[0])["shape"]["widths"])


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
            f"the potential was not trained for {symbols_of(missing)}, it knows "
            f"{symbols_of(model.species)}: leave these structures out, or start from another"
        )
    shape = {**model.shape(), "species": list(species)}
    rows = torch.tensor([model.species.index(z) for z in species])
    state = model.state_dict()
    state["species_coeffs"] = state["species_coeffs"][rows]
    state["radial_coeffs"] = state["radial_coeffs"][rows][:, rows]
    smaller = MTP.of_shape(shape).to(model.dtype)
    smaller.load_state_dict(state)
    return smaller


def symbols_of(numbers: Sequence[int]) -> str:
    """Elements in words; of many those that are not among them."""
    if len(numbers) <= MOST_NAMED:
        return " ".join(chemical_symbols[z] for z in numbers)
    last = max(numbers)
    lacking = " ".join(chemical_symbols[z] for z in range(1, last) if z not in numbers)
    return f"H to {chemical_symbols[last]}" + (f" without {lacking}" if lacking else "")
