"""Pictures of a report as PNG: those of a run, parity by group and by element, errors as
histograms.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..comparison import Comparison
from ..evaluation import SCALES
from ..plots import AXES, COLORS, GREY, loss_plot, parity_plot, shown

PALETTE = ("#0b6e99", "#d1495b", "#3a7d44", "#e09f3e", "#6a4c93", "#17a398", "#8d5524", "#5f6368")
"""Groups and elements in order; beyond, from the first again."""

DPI = 100
POINTS = 20000
"""Points of one panel; more are thinned evenly."""


def losses(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Loss and errors over the epochs, the borders of stages, the calibration's coefficients."""
    return _drawn(lambda file: loss_plot(records, file))


def parity(compared: Mapping[str, Comparison]) -> bytes:
    """Prediction over reference, training and test set."""
    return _drawn(lambda file: parity_plot({k: c.pairs for k, c in compared.items()}, file))


def _drawn(draw) -> bytes:
    file = io.BytesIO()
    draw(file)
    return file.getvalue()


def parity_by(label: str, parts: Mapping[str, np.ndarray], columns: int = 4) -> bytes:
    """One panel for each named part of (reference, prediction) rows, each with its own range."""
    scale, unit = AXES[label]
    rows = -(-len(parts) // columns)
    figure = Figure(figsize=(2.75 * columns, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(parts) :]:
        axes.set_axis_off()
    for n, (axes, name) in enumerate(zip(grid.flat, parts, strict=False)):
        axes.set_title(f"{name} ({len(parts[name]):,})", fontsize=9)
        _panel(axes, scale * parts[name], PALETTE[n % len(PALETTE)])
    figure.supxlabel(f"reference ({shown(unit)})", fontsize=9)
    figure.supylabel("prediction", fontsize=9)
    return _png(figure)


def energies_by_group(parts: Mapping[str, np.ndarray]) -> bytes:
    """Prediction over reference, and errors, one color and one row for each group."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    scale, unit = SCALES["energy"]
    every = np.concatenate([np.zeros((0, 2)), *parts.values()])
    _panel(left, every, GREY)
    for n, rows in enumerate(parts.values()):
        color = PALETTE[n % len(PALETTE)]
        style = {"ms": 3.5, "mew": 0, "alpha": 0.6, "color": color}
        left.plot(rows[:, 0], rows[:, 1], "o", zorder=3, **style)
        right.plot(scale * (rows[:, 1] - rows[:, 0]), np.full(len(rows), n), "o", **style)
    left.set_xlabel(f"reference ({shown(AXES['energy'][1])})", fontsize=9)
    left.set_ylabel("prediction", fontsize=9)
    right.set_xlabel(f"energy error ({shown(unit)})", fontsize=9)
    right.set_yticks(range(len(parts)), list(parts), fontsize=8)
    right.set_ylim(len(parts) - 0.5, -0.5)
    right.tick_params(labelsize=8)
    right.axvline(0, color="black", lw=0.7, zorder=1)
    return _png(figure)


def _panel(axes: Axes, rows: np.ndarray, color: str) -> None:
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=8)
    if not len(rows):
        axes.text(0.5, 0.5, "no labels", ha="center", transform=axes.transAxes, color=GREY)
        axes.set(xticks=[], yticks=[])
        return
    margin = 0.05 * (rows.max() - rows.min()) or 0.05
    limits = (rows.min() - margin, rows.max() + margin)
    rows = rows[:: -(-len(rows) // POINTS)]
    axes.plot(limits, limits, "-", color="black", lw=0.7, zorder=1)
    axes.plot(rows[:, 0], rows[:, 1], "o", ms=3, mew=0, alpha=0.5, color=color, zorder=2)
    axes.set(xlim=limits, ylim=limits)
    axes.locator_params(nbins=5)
    axes.ticklabel_format(useOffset=False)


def histograms(compared: Mapping[str, Comparison]) -> bytes:
    """Errors of energy, force and stress, training set behind the test set, on a log scale."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (label, (scale, unit)) in zip(figure.subplots(1, 3), SCALES.items(), strict=True):
        errors = {
            split: scale * np.subtract(*found.pairs[label][::-1])
            for split, found in compared.items()
        }
        errors = {split: e for split, e in errors.items() if len(e)}
        axes.set_xlabel(f"{label} error ({shown(unit)})")
        if not errors:
            axes.text(0.5, 0.5, "no labels", ha="center", transform=axes.transAxes, color=GREY)
            axes.set(xticks=[], yticks=[])
            continue
        widest = max(np.abs(e).max() for e in errors.values()) or 1.0
        bins = np.linspace(-widest, widest, 61)
        for split, values in errors.items():
            color, alpha = (COLORS[label], 0.8) if split == "test" else (GREY, 0.5)
            axes.hist(values, bins, color=color, alpha=alpha, label=f"{split} ({len(values):,})")
        axes.set_yscale("log")
        axes.axvline(0, color="black", lw=0.7)
        axes.legend(fontsize=8, frameon=False)
        axes.tick_params(labelsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    figure.set_dpi(DPI)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, pil_kwargs={"optimize": True})
    return file.getvalue()
