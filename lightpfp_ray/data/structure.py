"""Structure: one labelled configuration of atoms, as it was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Structure:
    """Lengths in A, energies in eV; a label that is missing is None, never zero."""

    numbers: np.ndarray  # (N,) atomic numbers
    positions: np.ndarray  # (N, 3)
    cell: np.ndarray  # (3, 3), rows are lattice vectors, zero where there is none
    pbc: np.ndarray  # (3,) bool
    energy: float | None = None  # total
    forces: np.ndarray | None = None  # (N, 3)
    stress: np.ndarray | None = None  # (6,) Voigt, eV/A^3, positive under tension
    source: str = ""  # "file.extxyz#12"
    weight: float = 1.0  # in the loss
    group: str = ""  # errors are told by group
    teacher: str = ""  # name and version of the potential that gave the labels, if one did
