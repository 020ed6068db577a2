"""Two pictures of a run: predictions against labels, and losses over epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .comparison import Pairs
from .evaluation import SCALES

AXES = {"energy": (1.0, "eV/atom"), "forces": (1.0, "eV/A"), "stress": (1e3, "meV/A^3")}
"""Factor from eV/atom, eV/A, eV/A^3, and unit of the axes; errors have those of the table."""

COLORS = {"energy": "#0b6e99", "forces": "#d1495b", "stress": "#3a7d44"}
GREY = "#9aa0a6"
DPI = 110


def parity_plot(pairs: Mapping[str, Pairs], path: Path | BinaryIO) -> None:
    """Prediction over reference for energy, forces and stress, one panel each, as a PNG.

    `pairs`: "train" and "test" -> label -> (reference, prediction) in eV/atom, eV/A, eV/A^3.
    """
    figure = Figure(figsize=(12.6, 4.4), layout="constrained")
    for axes, label in zip(figure.subplots(1, 3), SCALES, strict=True):
        _parity_panel(axes, label, {split: found[label] for split, found in pairs.items()})
    _save(figure, path)


def _parity_panel(
    axes: Axes, label: str, pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    scale, unit = AXES[label]
    axes.set_title(label if label != "energy" else "energy per atom", fontsize=11)
    axes.set_xlabel(f"reference ({shown(unit)})")
    axes.set_ylabel(f"prediction ({shown(unit)})")
    axes.set_box_aspect(1)
    values = np.concatenate([v for pair in pairs.values() for v in pair])
    if not len(values):
        axes.text(0.5, 0.5, "no labels", ha="center", transform=axes.transAxes, color=GREY)
        axes.set(xticks=[], yticks=[])
        return
    for split, (reference, prediction) in pairs.items():
        if len(reference):
            axes.plot(
                scale * reference,
                scale * prediction,
                "o",
                ms=2.5 if len(reference) > 2000 else 4,
                mew=0,
                alpha=0.7 if split == "test" else 0.5,
                color=COLORS[label] if split == "test" else GREY,
                label=_errors(split, label, reference, prediction),
                zorder=3 if split == "test" else 2,
            )
    low, high = scale * values.min(), scale * values.max()
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, "-", color="black", lw=0.7, zorder=1)
    axes.set(xlim=limits, ylim=limits)
    axes.locator_params(nbins=6)
    axes.ticklabel_format(useOffset=False)
    axes.legend(loc="upper left", fontsize=7.5, frameon=False, handletextpad=0.1, borderpad=0.2)


def _errors(split: str, label: str, reference: np.ndarray, prediction: np.ndarray) -> str:
    scale, unit = SCALES[label]
    difference = scale * (prediction - reference)
    mae, rmse = np.abs(difference).mean(), np.sqrt((difference**2).mean())
    return f"{split}: MAE {mae:.3g}, RMSE {rmse:.3g} {shown(unit)} (n = {len(difference)})"


def loss_plot(records: Iterable[Mapping[str, Any]], path: Path | BinaryIO) -> None:
    """Loss and mean absolute errors of training and test set over the epochs, as a PNG.

    `records`: a journal, see `journal.records`.
    """
    records = list(records)
    epochs = [record for record in records if record["type"] == "epoch"]
    figure = Figure(figsize=(9, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for split, style in (("train", "--"), ("test", "-")):
        _line(upper, epochs, split, "loss", style, "black" if split == "test" else GREY, split)
        for label, (scale, unit) in SCALES.items():
            name = f"{label}, {split} ({shown(unit)})"
            _line(lower, epochs, split, f"{label}_mae", style, COLORS[label], name, scale)
    upper.set_ylabel("loss of the stage")
    lower.set_ylabel("mean absolute error")
    lower.set_xlabel("epoch")
    if lower.lines:
        upper.legend(fontsize=8)
        figure.legend(*lower.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for axes in (upper, lower):
        _mark_stages(axes, epochs)
    _name_stages(upper, epochs, records)
    _save(figure, path)


def _line(
    axes: Axes,
    epochs: Sequence[Mapping[str, Any]],
    split: str,
    figure: str,
    style: str,
    color: str,
    name: str,
    scale: float = 1.0,
) -> None:
    """One curve, broken at the border of stages, where the loss changes its meaning."""
    for stage in _stages(epochs):
        points = [(r["step"], r[split][figure]) for r in epochs if r["stage"] == stage]
        points = [(step, scale * value) for step, value in points if value]
        if points:
            steps, values = zip(*points, strict=True)
            marker = "o" if len(points) == 1 else None
            axes.semilogy(steps, values, style, color=color, label=name, lw=1.3, marker=marker)
            name = "_"  # only the first piece stands in the legend


def _stages(epochs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Stage -> its first and its last step, in order."""
    spans: dict[str, tuple[int, int]] = {}
    for record in epochs:
        first, _ = spans.get(record["stage"], (record["step"], 0))
        spans[record["stage"]] = first, record["step"]
    return spans


def _mark_stages(axes: Axes, epochs: Sequence[Mapping[str, Any]]) -> None:
    axes.grid(True, which="major", color="0.92")
    axes.set_axisbelow(True)
    for first, _ in list(_stages(epochs).values())[1:]:
        axes.axvline(first - 0.5, color="0.6", lw=0.8)


def _name_stages(
    axes: Axes, epochs: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]
) -> None:
    """Names above the upper panel; the coefficients that calibration found as its title."""
    for stage, (first, last) in _stages(epochs).items():
        axes.annotate(
            stage.replace("_", " "),
            ((first + last) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    found = [record for record in records if record["type"] == "calibration"]
    if found:
        parts = [f"{k} {found[-1][f'{k}_coeff']:.4g}" for k in SCALES if found[-1][f"{k}_coeff"]]
        axes.set_title(f"coefficients of calibration: {', '.join(parts)}", fontsize=9, pad=20)


def shown(unit: str) -> str:
    """A unit as people write it."""
    return unit.replace("A^3", "Å³").replace("/A", "/Å")


def _save(figure: Figure, path: Path | BinaryIO) -> None:
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure).print_png(path, pil_kwargs={"optimize": True})
