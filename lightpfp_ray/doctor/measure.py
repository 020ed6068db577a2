"""What a quick potential says of the labels: which unit the energies have, whether they are of one
setting, what the stress is in.

Forces are fitted first, robustly. Energies are then tried in each unit that people use, and the one
that the same potential explains together with the forces is taken:

    score = (residual / spread of the energies)^2 + what the forces lose by it / their square

A stress takes no part in the fit: it is predicted, and its label is compared with the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..batch import Batch
from ..units import GPA_PER_EV_A3
from .fit import Design

RIDGE = 1e-5
"""Of the mean square of the columns, which are scaled to one size."""

HUBER = 2.0
"""Residuals above so many deviations count by their size, not by its square."""

BOHR, HARTREE, KCAL, KJ = 0.529177210903, 27.211386245988, 0.0433641153, 0.0103642697

ENERGY_UNITS = {
    "eV": 1.0,
    "Hartree": HARTREE,
    "Rydberg": HARTREE / 2,
    "kcal/mol": KCAL,
    "kJ/mol": KJ,
    "meV": 1e-3,
}
PER_ATOM = "eV per atom"

STRESS_UNITS = {
    "eV/A^3": 1.0,
    "GPa": 1 / GPA_PER_EV_A3,
    "kB": 0.1 / GPA_PER_EV_A3,
    "MPa": 1e-3 / GPA_PER_EV_A3,
    "bar": 1e-4 / GPA_PER_EV_A3,
    "Pa": 1e-9 / GPA_PER_EV_A3,
    "Hartree/Bohr^3": HARTREE / BOHR**3,
    "Rydberg/Bohr^3": HARTREE / 2 / BOHR**3,
}


@dataclass(frozen=True)
class Sample:
    """Labels of the structures of a design; NaN where there is none."""

    design: Design
    atoms_S: np.ndarray
    energy_S: np.ndarray
    forces_N: np.ndarray  # flat
    stress_S6: np.ndarray

    @classmethod
    def of(cls, batches: Sequence[Batch], design: Design) -> Sample:
        return cls(
            design=design,
            atoms_S=np.concatenate([b.atoms_S.double().numpy() for b in batches]),
            energy_S=np.concatenate([b.energy_S.numpy() for b in batches]),
            forces_N=np.concatenate([b.forces_A3.reshape(-1).numpy() for b in batches]),
            stress_S6=np.concatenate(
                [
                    b.stress_S6.where(~b.volume_S.isnan()[:, None], torch.nan).numpy()
                    for b in batches
                ]
            ),
        )


@dataclass(frozen=True)
class Forces:
    """The normal equations of the forces with the weights of a robust fit; columns scaled."""

    matrix_PP: np.ndarray
    right_P: np.ndarray
    square: float
    scale_P: np.ndarray
    error: float  # eV/A, deviation of a component
    spread: float

    @property
    def lost(self) -> float:
        """Part of the forces' square that the best potential leaves."""
        return self.excess(_solved(self.matrix_PP, self.right_P))

    def excess(self, x_P: np.ndarray) -> float:
        """The same of any potential."""
        left = x_P @ self.matrix_PP @ x_P - 2 * self.right_P @ x_P + self.square
        return float(left / self.square)


@dataclass(frozen=True)
class EnergyFit:
    """A potential for forces and energies of one unit."""

    unit: str
    x_P: np.ndarray
    residual_S: np.ndarray  # eV per atom, in the unit's eV; NaN where there is no energy
    spread: float  # eV per atom, of the energies after E0
    score: float

    @property
    def error(self) -> float:
        return spread_of(self.residual_S)


@dataclass(frozen=True)
class Branches:
    """Two sets of energies, a constant apart."""

    gap: float  # eV per atom, of the smaller set above the larger
    width: float  # eV per atom, deviation within
    smaller_S: np.ndarray  # bool


@dataclass(frozen=True)
class StressFit:
    """A label against its prediction: prediction = factor * label."""

    factor: float
    correlation: float
    count: int

    @property
    def unit(self) -> str:
        """The unit whose factor is nearest."""
        return min(STRESS_UNITS, key=lambda u: abs(np.log(abs(self.factor) / STRESS_UNITS[u])))


def spread_of(values: np.ndarray) -> float:
    """A deviation that a few outliers do not change, and a rare true branch does."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return 0.0
    low, high = np.quantile(values, [0.05, 0.95])
    return float((high - low) / 3.29)


def fit_forces(sample: Sample) -> Forces | None:
    """Robust least squares of the forces; None without any that differ from zero."""
    present = np.isfinite(sample.forces_N)
    x_NP, y_N = sample.design.forces_NP[present], sample.forces_N[present]
    if not len(y_N) or not y_N.any():
        return None
    scale_P = np.sqrt((x_NP**2).mean(0))
    scale_P[scale_P == 0] = 1.0
    x_NP = x_NP / scale_P
    typical = np.sqrt((np.clip(y_N, *np.quantile(y_N, [0.002, 0.998])) ** 2).mean())
    weight_N = np.ones(len(y_N))
    for _ in range(4):
        weighted_NP = x_NP * weight_N[:, None]
        matrix, right = weighted_NP.T @ x_NP, weighted_NP.T @ y_N
        residual_N = y_N - x_NP @ _solved(matrix, right)
        error = max(1.4826 * np.median(np.abs(residual_N)), 0.1 * typical, 1e-9)
        weight_N = 1 / np.maximum(1, np.abs(residual_N) / (HUBER * error))
    square = float((weight_N * y_N) @ y_N)
    return Forces(matrix, right, square, scale_P, float(error), float(typical))


def _solved(matrix_PP: np.ndarray, right_P: np.ndarray) -> np.ndarray:
    ridge = RIDGE * np.trace(matrix_PP) / len(matrix_PP)
    return np.linalg.solve(matrix_PP + ridge * np.eye(len(matrix_PP)), right_P)


def fit_energies(sample: Sample, forces: Forces) -> list[EnergyFit]:
    """The energies in every unit, best first."""
    fits = [_fit_energies(sample, forces, u, factor) for u, factor in ENERGY_UNITS.items()]
    fits.append(_fit_energies(sample, forces, PER_ATOM, sample.atoms_S))
    return sorted((f for f in fits if f is not None), key=lambda f: f.score)


def _fit_energies(
    sample: Sample, forces: Forces, unit: str, factor: float | np.ndarray
) -> EnergyFit | None:
    y_S = factor * sample.energy_S / sample.atoms_S
    known_S = np.isfinite(y_S)
    if known_S.sum() < MIN_STRUCTURES:
        return None
    x_SP = sample.design.energy_SP / sample.atoms_S[:, None]
    return _robust_energies(unit, x_SP, y_S, known_S, forces, sample.design.n_species)


MIN_STRUCTURES = 10
"""Fewer energies say nothing."""


def _robust_energies(
    unit: str,
    x_SP: np.ndarray,
    y_S: np.ndarray,
    known_S: np.ndarray,
    forces: Forces,
    n_species: int,
) -> EnergyFit:
    """Energies and forces weigh the same; outliers among the energies count less."""
    scaled_SP = x_SP / forces.scale_P
    e0_SC = x_SP[:, -n_species:]
    base_S = np.full(len(y_S), np.nan)
    base_S[known_S] = y_S[known_S] - e0_SC[known_S] @ _robust_e0(e0_SC[known_S], y_S[known_S])
    spread = max(spread_of(base_S), 1e-6)
    a_SP, b_S = scaled_SP[known_S], y_S[known_S]
    weight_S = np.ones(len(b_S))
    for _ in range(8):
        level = forces.square / max(weight_S.sum() * spread**2, 1e-300)
        weighted_SP = level * weight_S[:, None] * a_SP
        x_P = _with_free_e0(
            forces.matrix_PP + weighted_SP.T @ a_SP, forces.right_P + weighted_SP.T @ b_S, n_species
        )
        residual_S = b_S - a_SP @ x_P
        error = max(1.4826 * np.median(np.abs(residual_S)), 0.02 * spread)
        weight_S = 1 / np.maximum(1, np.abs(residual_S) / (HUBER * error))
    full_S = np.full(len(y_S), np.nan)
    full_S[known_S] = residual_S
    score = (spread_of(residual_S) / spread) ** 2 + forces.excess(x_P) - forces.lost
    return EnergyFit(unit, x_P / forces.scale_P, full_S, spread, float(score))


def _with_free_e0(matrix_PP: np.ndarray, right_P: np.ndarray, n_species: int) -> np.ndarray:
    """Like _solved, but nothing draws the E0 of the species to zero."""
    ridge_P = np.full(len(matrix_PP), RIDGE * np.trace(matrix_PP) / len(matrix_PP))
    ridge_P[-n_species:] *= 1e-6
    return np.linalg.solve(matrix_PP + np.diag(ridge_P), right_P)


def _robust_e0(e0_SC: np.ndarray, y_S: np.ndarray) -> np.ndarray:
    weight_S = np.ones(len(y_S))
    for _ in range(5):
        root_S = np.sqrt(weight_S)
        x_C = np.linalg.lstsq(e0_SC * root_S[:, None], y_S * root_S, rcond=1e-10)[0]
        residual_S = np.abs(y_S - e0_SC @ x_C)
        error = 1.4826 * np.median(residual_S) + 1e-9
        weight_S = 1 / np.maximum(1, residual_S / (HUBER * error))
    return x_C


def find_branches(sample: Sample, forces: Forces, start: EnergyFit) -> Branches | None:
    """The split of the energies in two sets that best agree with one potential and a constant.

    From the residuals of a fit to all; the constant is then fitted along, until no structure
    changes sides.
    """
    known_S = np.isfinite(sample.energy_S)
    y_S = sample.energy_S / sample.atoms_S
    x_SP = sample.design.energy_SP / sample.atoms_S[:, None]
    upper_S = known_S & (start.residual_S > _best_split(start.residual_S[known_S]))
    gap = float(
        np.median(start.residual_S[upper_S]) - np.median(start.residual_S[known_S & ~upper_S])
    )
    for _ in range(12):
        fit = _robust_energies(
            start.unit, x_SP, y_S - gap * upper_S, known_S, forces, sample.design.n_species
        )
        free_S = fit.residual_S + gap * upper_S
        split = _best_split(free_S[known_S])
        new_S = known_S & (free_S > split)
        low_S = known_S & ~new_S
        if not new_S.any() or not low_S.any():
            return None
        gap = float(np.median(free_S[new_S]) - np.median(free_S[low_S]))
        if (new_S == upper_S).all():
            break
        upper_S = new_S
    within_S = free_S - gap * upper_S
    width = spread_of(within_S[known_S])
    if upper_S.sum() > low_S.sum():
        return Branches(-gap, width, low_S)
    return Branches(gap, width, upper_S)


def _best_split(values: np.ndarray) -> float:
    """The threshold that leaves the least squares within two sets (Otsu), outliers clipped."""
    low, high = np.quantile(values, [0.01, 0.99])
    v = np.sort(np.clip(values, low, high))
    n = np.arange(1, len(v))
    total = np.cumsum(v)
    between = (total[-1] * n / len(v) - total[:-1]) ** 2 / (n * (len(v) - n))
    best = int(np.argmax(between))
    return float(0.5 * (v[best] + v[best + 1]))


def fit_stress(sample: Sample, x_P: np.ndarray) -> tuple[StressFit | None, StressFit | None]:
    """Shear and deviatoric part, and pressure, against their predictions; None where too few."""
    known_S = np.isfinite(sample.stress_S6).all(1)
    label = sample.stress_S6[known_S]
    predicted = sample.design.stress_SP[known_S] @ x_P
    return (
        _line(_deviator(label).ravel(), _deviator(predicted).ravel(), centered=False),
        _line(label[:, :3].mean(1), predicted[:, :3].mean(1), centered=True),
    )


def _deviator(stress_S6: np.ndarray) -> np.ndarray:
    return stress_S6 - stress_S6[:, :3].mean(1)[:, None] * np.array([1, 1, 1, 0, 0, 0])


def _line(label: np.ndarray, predicted: np.ndarray, centered: bool) -> StressFit | None:
    """Slope of the prediction over the label, outliers left out."""
    if len(label) < MIN_STRUCTURES or not label.any():
        return None
    inside = np.ones(len(label), bool)
    for _ in range(4):
        a, b = label[inside], predicted[inside]
        if centered:
            a, b = a - a.mean(), b - b.mean()
        if not a.any() or not b.any():
            return None
        slope = float(a @ b / (a @ a))
        offset = float(np.median(predicted[inside] - slope * label[inside])) if centered else 0.0
        residual = np.abs(predicted - slope * label - offset)
        large = 0.3 * np.quantile(np.abs(predicted - predicted.mean()), 0.98)
        inside = residual <= max(5 * 1.4826 * np.median(residual[inside]), large)
    return StressFit(slope, float(a @ b / np.sqrt((a @ a) * (b @ b))), len(a))
