"""Extrapolation grade: how far an atom lies outside of what a potential was trained on (MLIP's
gamma).

    gamma_i = max_j |c_ij|,     b_i = sum_j c_ij b_j,     b_i = (1, B(n_i))

b_j are the neighborhoods of the active set: those of the training set that span the largest volume
(`maxvol`). With gamma <= 1 a linear potential interpolates between energies it was trained on; MLIP
calls frames above 2 worth a label, and those above 10 dangerous. Podryabinkin and Shapeev 2017 (doi
10.1016/j.commatsci.2017.08.031), Novikov et al. 2021, eqs. 12-16.

Two choices. The basis functions B describe an atom whatever the readout, linear or neural, and not
the derivatives by all parameters, as MLIP takes them: the radial functions are taken as given. And
each species has an active set of its own, as in Lysogorskiy et al. 2023 (doi
10.1103/PhysRevMaterials.7.043801): radial functions belong to the species of the center, so the
same numbers B mean something else for another one, and a rare species stays covered. Configurations
are graded by the mean of their atoms, (fractions of the species, mean of B): a larger cell of the
same crystal has the same grade.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .batch import Batch
from .errors import UserError
from .files import write_atomically
from .maxvol import MaxVol, inverse
from .mtp.engine.torch_engine import sum_by
from .mtp.model import MTP
from .mtp.sites import basis_functions

ACTIVE_SET = "active_set.safetensors"
"""File in a potential's folder."""
MAX_PASSES = 20
"""Passes over the training set; fewer are made when one has exchanged nothing."""

WORTH_A_LABEL, DANGEROUS = 2.0, 10.0


@dataclass(frozen=True)
class ActiveSet:
    """The neighborhoods and structures that span what was trained on."""

    atoms: dict[int, np.ndarray]  # rows b_j of each species, by atomic number: (1 + B, 1 + B)
    structures: np.ndarray  # the same of whole structures: (C + B, C + B)
    model: str  # `name_of` the potential that they belong to

    def __post_init__(self) -> None:
        inverses = {z: inverse(rows) for z, rows in self.atoms.items()}
        object.__setattr__(self, "_of_atoms", inverses)
        object.__setattr__(self, "_of_structures", inverse(self.structures))

    def grades(self, model: MTP, batch: Batch) -> np.ndarray:
        """gamma of every atom: (A,); infinite for a species that was not trained."""
        basis_AB, numbers_A = basis_functions(model, batch).numpy(), batch.numbers_A.numpy()
        grades_A = np.full(batch.n_atoms, np.inf)
        for z, inverse_nn in self._of_atoms.items():
            own = numbers_A == z
            grades_A[own] = _gamma(_neighborhoods(basis_AB[own]), inverse_nn)
        return grades_A

    def structure_grades(self, model: MTP, batch: Batch) -> np.ndarray:
        """gamma of every structure as a whole, by the mean of its atoms: (S,).

        Of use where the training set has more structures than a structure has numbers, C + B; else
        almost any other structure has a part in a direction that was not seen, and a huge grade.
        """
        basis_AB = basis_functions(model, batch).numpy()
        return _gamma(_means(model, batch, basis_AB), self._of_structures)

    def save(self, folder: Path) -> None:
        """Write the file into a potential's folder."""
        tensors = {f"atoms.{z}": rows for z, rows in self.atoms.items()}
        tensors["structures"] = self.structures
        write_atomically(folder / ACTIVE_SET, save(tensors, {"model": self.model}))


def active_set(model: MTP, batches: Iterable[Batch]) -> ActiveSet:
    """The active set of a potential over its training set, which is passed over several times.

    `batches` must begin anew each time it is iterated over (a list, not a generator). Memory does
    not grow with their number. Afterwards no atom of them has a grade above 1 +
    `maxvol.TOLERANCE`; where MAX_PASSES do not suffice for that, a warning says so.
    """
    if iter(batches) is batches:
        raise TypeError("batches must be iterable more than once: a list, not a generator")
    n_basis = len(model.basis.scalars)
    atoms: dict[int, MaxVol] = {}
    structures = MaxVol(len(model.species) + n_basis)
    for _ in range(MAX_PASSES):
        exchanged = 0
        for batch in batches:
            basis_AB, numbers_A = basis_functions(model, batch).numpy(), batch.numbers_A.numpy()
            for z in np.unique(numbers_A).tolist():
                found = atoms.setdefault(z, MaxVol(1 + n_basis))
                exchanged += found.show(_neighborhoods(basis_AB[numbers_A == z]))
            exchanged += structures.show(_means(model, batch, basis_AB))
        if not exchanged:
            break
    else:
        logging.getLogger(__name__).warning(
            "The active set was still growing after %d passes: grades are a little too large.",
            MAX_PASSES,
        )
    rows = {z: atoms[z].rows for z in sorted(atoms)}
    return ActiveSet(rows, structures.rows, name_of(model))


def load_active_set(folder: Path, model: MTP) -> ActiveSet | None:
    """The active set in a potential's folder; None where there is none.

    Raises UserError where it is damaged or of another potential.
    """
    path = folder / ACTIVE_SET
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as file:
            of = (file.metadata() or {}).get("model", "?")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        structures = tensors.pop("structures")
        atoms = {int(key.removeprefix("atoms.")): rows for key, rows in tensors.items()}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, or compute it anew") from None
    if of != name_of(model):
        raise UserError(
            f"{path} is the active set of another potential: delete it, or compute it anew with "
            "`lightpfp-ray grade POTENTIAL --training-data FILES`"
        )
    return ActiveSet(atoms, structures, of)


def name_of(model: MTP) -> str:
    """What decides the basis functions: a digest of shape and radial functions."""
    content = json.dumps(model.shape(), sort_keys=True).encode()
    radial = model.radial_coeffs.detach().double().numpy().tobytes()
    return hashlib.sha256(content + radial).hexdigest()


def _neighborhoods(basis_AB: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(basis_AB), 1)), basis_AB], axis=1)


def _means(model: MTP, batch: Batch, basis_AB: np.ndarray) -> np.ndarray:
    """Fractions of the species and mean basis functions of every structure: (S, C + B)."""
    n_species = len(model.species)
    one_hot_AC = torch.nn.functional.one_hot(model.species_A(batch), n_species).double()
    atoms_AN = torch.cat([one_hot_AC, torch.from_numpy(basis_AB)], 1)
    sums_SN = sum_by(batch.structure_A, atoms_AN, batch.n_structures)
    return (sums_SN / batch.atoms_S[:, None].clamp(min=1)).numpy()


def _gamma(rows: np.ndarray, inverse_nn: np.ndarray) -> np.ndarray:
    return np.abs(rows @ inverse_nn).max(axis=1, initial=0.0)
