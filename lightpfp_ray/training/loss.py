"""The loss of a stage, as sums over labels that are divided by the counts of the whole batch.

    L = c_E L_E + c_F L_F + c_S L_S,     L_k = 1/n_k sum |d_k|^p,     p = 2 ("mse") or 1 ("l1")

d_E = (E - E_ref) / N in eV/atom for each structure, d_F in eV/A for each component of a force, d_S
in eV/A^3 for each of the six components of a stress. A label that is absent adds nothing to sum or
count.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..batch import Batch, Prediction

LABELS = ("energy", "forces", "stress")

POWERS = ("l1", "mse")
"""Columns of the sums: of absolute values and of squares."""


def residuals(prediction: Prediction, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """d_E (S), d_F (A, 3) and d_S (S, 6), float64; 0 where a label is absent."""
    pairs = (
        (prediction.energy_S / batch.atoms_S, batch.energy_S / batch.atoms_S),
        (prediction.forces_A3.double(), batch.forces_A3),
        (prediction.stress_S6, batch.stress_S6),
    )
    return tuple(
        torch.where(label.isnan(), torch.zeros_like(label), found - label) for found, label in pairs
    )


def sums(prediction: Prediction, batch: Batch) -> Tensor:
    """Sums of |d| and d^2 over the labels present: (3, 2), rows as LABELS, columns as POWERS."""
    return torch.stack(
        [torch.stack([d.abs().sum(), (d * d).sum()]) for d in residuals(prediction, batch)]
    )


def weighted(
    sums_32: Tensor, labels: Mapping[str, int], coefficients: Mapping[str, float], power: str
) -> Tensor:
    """The loss of sums over some structures, `labels` being the counts of the whole batch."""
    column = sums_32[:, POWERS.index(power)]
    per_label = [coefficients[k] / labels[k] if labels[k] else 0.0 for k in LABELS]
    return column @ torch.tensor(per_label, dtype=column.dtype, device=column.device)


def figures(
    sums_32: Tensor, labels: Mapping[str, int], coefficients: Mapping[str, float], power: str
) -> dict[str, float | None]:
    """Loss, its three parts without coefficients, MAE and RMSE, by name; None where no label is."""
    found: dict[str, float | None] = {
        "loss": float(weighted(sums_32, labels, coefficients, power))
        if any(labels.values())
        else None
    }
    for label, row in zip(LABELS, sums_32.tolist(), strict=True):
        n = labels[label]
        mae, mse = (value / n if n else None for value in row)
        found[f"{label}_loss"] = mse if power == "mse" else mae
        found[f"{label}_mae"] = mae
        found[f"{label}_rmse"] = None if mse is None else mse**0.5
    return found
