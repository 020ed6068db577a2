"""A potential against labels, structure by structure: what a report groups, sorts and draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.formula import Formula

from .evaluation import BLOCK
from .mtp.model import MTP
from .training.loss import LABELS

if TYPE_CHECKING:
    from .data.dataset import StructureSet

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Label -> (reference, prediction): eV/atom, eV/A, eV/A^3; flat."""


@dataclass(frozen=True)
class Comparison:
    """Reference and prediction of some structures of a set; the reference is NaN where there is no
    label.

    The last axis is (reference, prediction); eV/atom, eV/A, eV/A^3.
    """

    n_structures: int  # of the whole set
    sources: list[str]
    groups: np.ndarray  # (S,) names, "" where there is none
    numbers_A: np.ndarray
    structure_A: np.ndarray
    energy_S2: np.ndarray  # per atom
    forces_A32: np.ndarray
    stress_S62: np.ndarray

    @property
    def pairs(self) -> Pairs:
        """What `plots.parity_plot` draws."""
        return {
            label: tuple(v[~np.isnan(v[:, 0])].T)
            for label, v in zip(LABELS, (self.energy, self.forces, self.stress), strict=True)
        }

    @property
    def energy(self) -> np.ndarray:
        """Energies, one row each: (S, 2)."""
        return self.energy_S2

    @property
    def forces(self) -> np.ndarray:
        """Components of the forces, one row each: (3 A, 2)."""
        return self.forces_A32.reshape(-1, 2)

    @property
    def stress(self) -> np.ndarray:
        """Components of the stress, one row each: (6 S, 2)."""
        return self.stress_S62.reshape(-1, 2)

    def of_structures(self, chosen_S: np.ndarray) -> Comparison:
        """The same of the structures where `chosen_S` (S,) is true."""
        kept_A = chosen_S[self.structure_A]
        number = np.cumsum(chosen_S) - 1
        return Comparison(
            int(chosen_S.sum()),
            [source for source, keep in zip(self.sources, chosen_S, strict=True) if keep],
            self.groups[chosen_S],
            self.numbers_A[kept_A],
            number[self.structure_A[kept_A]],
            self.energy_S2[chosen_S],
            self.forces_A32[kept_A],
            self.stress_S62[chosen_S],
        )

    def force_errors_S(self) -> np.ndarray:
        """Root mean square error of the force components of every structure; NaN without labels."""
        square_A = ((self.forces_A32[..., 1] - self.forces_A32[..., 0]) ** 2).mean(1)
        return np.sqrt(_means(square_A, self.structure_A, len(self.sources)))

    def formulas(self) -> list[str]:
        """Chemical formula of every structure."""
        from ase.data import chemical_symbols

        ends = np.searchsorted(self.structure_A, np.arange(len(self.sources)), side="right")
        parts = np.split(self.numbers_A, ends[:-1]) if len(ends) else []
        return [
            Formula.from_list([chemical_symbols[z] for z in part]).format("metal") for part in parts
        ]


def compare(model: MTP, structures: StructureSet, most: int) -> Comparison:
    """At most `most` structures of a prepared set, evenly spread over it."""
    chosen = np.unique(np.linspace(0, len(structures) - 1, min(most, len(structures))).astype(int))
    energy, forces, stress, numbers, atoms = [], [], [], [], []
    for batch in _batches(structures, chosen):
        prediction = model(batch)
        pairs = (
            (batch.energy_S / batch.atoms_S, prediction.energy_S / batch.atoms_S),
            (batch.forces_A3, prediction.forces_A3),
            (batch.stress_S6, prediction.stress_S6),
        )
        for column, pair in zip((energy, forces, stress), pairs, strict=True):
            column.append(np.stack([t.detach().double().numpy() for t in pair], -1))
        numbers.append(batch.numbers_A.numpy())
        atoms.append(batch.atoms_S.numpy())
    n_atoms = np.concatenate([np.zeros(0, int), *atoms])
    counts = structures.counts
    return Comparison(
        len(structures),
        [structures.source(int(i)) for i in chosen],
        np.array(counts.group_names, dtype=object)[counts.group[chosen]],
        np.concatenate([np.zeros(0, int), *numbers]),
        np.repeat(np.arange(len(chosen)), n_atoms),
        np.concatenate([np.zeros((0, 2)), *energy]),
        np.concatenate([np.zeros((0, 3, 2)), *forces]),
        np.concatenate([np.zeros((0, 6, 2)), *stress]),
    )


def _batches(structures: StructureSet, chosen: np.ndarray) -> Iterator:
    for start in range(0, len(chosen), BLOCK):
        yield structures.batch(chosen[start : start + BLOCK])


def _means(values_A: np.ndarray, structure_A: np.ndarray, n: int) -> np.ndarray:
    """Mean over the atoms of each structure; NaN where there is none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(structure_A, values_A, n) / np.bincount(structure_A, minlength=n)
