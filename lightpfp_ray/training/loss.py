"""The loss of a stage, as sums over labels that are divided by the labels of the whole batch.

    L = c_E L_E + c_F L_F + c_S L_S,     L_k = sum w |d_k|^p / sum w,     p = 2 ("mse") or 1 ("l1")

d_E = (E - E_ref) / N in eV/atom for each structure, d_F in eV/A for each component of a force, d_S
in eV/A^3 for each of the six components of a stress; w is the weight of the structure. A label that
is absent adds nothing to sum or count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..batch import Batch, Prediction

LABELS = ("energy", "forces", "stress")

POWERS = ("l1", "mse")
"""Columns of the sums: of absolute values and of squares; then both again, weighted."""


@dataclass(frozen=True)
class Labels:
    """Number of labels of some structures, and what they weigh, by LABELS."""

    count: Mapping[str, int]
    weight: Mapping[str, float]


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


def sums(prediction: Prediction, batch: Batch, weights_S3: Tensor | None = None) -> Tensor:
    """Sums over the labels present: (3, 4), rows as LABELS, columns as POWERS, then weighted."""
    d_E, d_F, d_S = residuals(prediction, batch)
    if weights_S3 is None:
        weights_S3 = d_E.new_ones(len(d_E), 3)
    weights = (weights_S3[:, 0], weights_S3[batch.structure_A, 1:2], weights_S3[:, 2:])
    rows = []
    for d, w in zip((d_E, d_F, d_S), weights, strict=True):
        plain = (d.abs(), d * d)
        rows.append(torch.stack([part.sum() for part in (*plain, *(w * x for x in plain))]))
    return torch.stack(rows)


def weighted(
    sums_34: Tensor, labels: Labels, coefficients: Mapping[str, float], power: str
) -> Tensor:
    """The loss of sums over some structures; `labels` are those of the whole batch."""
    column = sums_34[:, 2 + POWERS.index(power)]
    return column @ per_label(labels, coefficients).to(column)


def per_label(labels: Labels, coefficients: Mapping[str, float]) -> Tensor:
    """What |d_k|^p counts in the loss (3), float64; 0 where no label is."""
    weight = labels.weight
    counts = [coefficients[k] / weight[k] if weight[k] else 0.0 for k in LABELS]
    return torch.tensor(counts, dtype=torch.float64)


def figures(
    sums_34: Tensor, labels: Labels, coefficients: Mapping[str, float], power: str
) -> dict[str, float | None]:
    """Loss, its three parts without coefficients, MAE and RMSE, by name; None where no label is.

    Weights count in the losses, not in MAE and RMSE.
    """
    found: dict[str, float | None] = {
        "loss": float(weighted(sums_34, labels, coefficients, power))
        if any(labels.count.values())
        else None
    }
    for label, row in zip(LABELS, sums_34.tolist(), strict=True):
        n, weight = labels.count[label], labels.weight[label]
        mae, mse = (value / n if n else None for value in row[:2])
        part = row[2 + POWERS.index(power)] / weight if weight else None
        found[f"{label}_loss"] = part
        found[f"{label}_mae"] = mae
        found[f"{label}_rmse"] = None if mse is None else mse**0.5
    return found
