"""CHGNet, a universal graph network potential (Deng et al., Nature Machine Intelligence 2023, 5,
1031); its weights come in its package.

It is trained on crystals near equilibrium from the Materials Project (PBE and PBE+U): what is far
from them, molecules and close pairs for instance, is its extrapolation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import numpy as np
import torch

from ..data.neighbors import edges
from ..data.structure import Structure
from ..units import GPA_PER_EV_A3, voigt_from_matrix
from .teacher import Labels, NotLabelled, Teacher, elements_but, missing_package, package_version

MODEL = "0.3.0"

UNTRAINED = ("Po", "At", "Rn", "Fr", "Ra")
"""Of the 94 elements that the network has a place for, those that no structure of its training
set held: their reference energies are still random.
"""

CUTOFF = 6.0
"""A; atoms farther apart do not see each other."""

VACUUM = 2 * CUTOFF
"""A between a structure and its image where it is not periodic."""

LICENCE = "modified BSD (code and weights)"


def teacher() -> Teacher:
    """Raises UserError where chgnet is not installed."""
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from chgnet.model import CHGNet

            model = CHGNet.load(model_name=MODEL, use_device="cpu", verbose=False)
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "chgnet") from None
    return Teacher(
        name="CHGNet",
        version=f"{MODEL} ({package_version('chgnet')})",
        licence=LICENCE,
        elements=elements_but(94, UNTRAINED),
        gives_stress=True,
        compute=lambda structure: _labels(model, structure),
    )


def _labels(model, structure: Structure) -> Labels:
    """A batch of several structures was no faster than one at a time, at 4 to 100 atoms each."""
    from pymatgen.core import Structure as Crystal

    center, _, _ = edges(structure.positions, structure.cell, structure.pbc, CUTOFF)
    if len(np.unique(center)) < len(structure.numbers):
        raise NotLabelled(f"an atom has no neighbor within the {CUTOFF:g} A of CHGNet")
    cell = periodic_cell(structure)
    crystal = Crystal(cell, structure.numbers, structure.positions, coords_are_cartesian=True)
    with _one_thread():
        found = model.predict_graph(model.graph_converter(crystal), task="efs")
    # its stress is divided by a volume that carries the sign of the cell's handedness
    handed = np.sign(np.linalg.det(cell))
    return Labels(
        energy=float(found["e"]) * len(structure.numbers),
        forces=found["f"].astype(np.float64),
        stress=handed * voigt_from_matrix(found["s"].astype(np.float64)) / GPA_PER_EV_A3,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """The sums of a matrix product depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def periodic_cell(structure: Structure) -> np.ndarray:
    """The cell (3, 3), with a vector across a vacuum in each direction that is not periodic."""
    periodic = structure.cell[structure.pbc]
    # rows of vt beyond the rank span what is orthogonal to the periodic vectors
    across = np.linalg.svd(periodic, full_matrices=True)[2][len(periodic) :]
    extents = np.ptp(structure.positions @ across.T, axis=0)
    cell = structure.cell.copy()
    cell[~structure.pbc] = across * (extents + VACUUM)[:, None]
    return cell
