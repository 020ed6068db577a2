"""Pictures of a set of structures, as PNG."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..plots import COLORS, GREY
from ..units import GPA_PER_EV_A3
from .labels import reference_energies
from .measure import EnergyFit
from .survey import Survey

PALETTE = ("#0b6e99", "#d1495b", "#3a7d44", "#e09f3e", "#6a4c93", "#17a398", "#8d5524")
"""The groups with most structures; the others are grey."""

CELLS = 60
"""Parts of the picture, along each axis, in which one pressure is drawn as a slope."""

BINS = 60


def ranges(seen: Survey) -> bytes:
    """Histograms over the structures: energies, largest forces, pressures, shortest distances."""
    figure = Figure(figsize=(10.6, 5.6), layout="constrained")
    panels = figure.subplots(2, 2).flat
    _histogram(
        next(panels),
        reference_energies(seen),
        "energy per atom above the best E0 (eV)",
        COLORS["energy"],
    )
    _histogram(next(panels), seen["max_force"], "largest force (eV/Å)", COLORS["forces"])
    _histogram(next(panels), GPA_PER_EV_A3 * seen["pressure"], "pressure (GPa)", COLORS["stress"])
    _histogram(next(panels), seen["closeness"], "shortest distance over covalent radii", GREY)
    return _png(figure)


def _histogram(axes: Axes, values: np.ndarray, title: str, color: str) -> None:
    values = values[np.isfinite(values)]
    axes.set_xlabel(title)
    axes.set_ylabel("structures")
    if not len(values):
        axes.text(0.5, 0.5, "no labels", ha="center", transform=axes.transAxes, color=GREY)
        axes.set(xticks=[], yticks=[])
        return
    axes.hist(values, bins=BINS, color=color)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)


def energy_over_volume(seen: Survey) -> bytes:
    """Energy over volume, per atom, by group, with the slope that each pressure says it has."""
    figure = Figure(figsize=(10.6, 4.8), layout="constrained")
    axes = figure.subplots()
    volume = seen["volume"] / seen["n_atoms"]
    energy = reference_energies(seen)
    known = np.isfinite(volume) & np.isfinite(energy)
    groups = np.array(seen.groups, dtype=object).astype(str)
    names, counts = np.unique(groups[known], return_counts=True)
    largest = names[np.argsort(-counts)][: len(PALETTE)]
    others = known & ~np.isin(groups, largest)
    for name, color in [*zip(largest, PALETTE, strict=False), (None, GREY)]:
        chosen = others if name is None else known & (groups == name)
        if chosen.any():
            label = f"{'others' if name is None else name or 'all'} ({chosen.sum():,})"
            axes.plot(volume[chosen], energy[chosen], "o", ms=3.5, mew=0, color=color, label=label)
    _tangents(axes, volume, energy, seen["pressure"], known)
    axes.set_xlabel("volume per atom (Å³)")
    axes.set_ylabel("energy per atom above the best E0 (eV)")
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _png(figure)


def _tangents(
    axes: Axes, volume: np.ndarray, energy: np.ndarray, pressure: np.ndarray, known: np.ndarray
) -> None:
    """Short lines of slope -pressure through one point of each small part of the picture."""
    wide, tall = (np.ptp(values[known]) or 1.0 for values in (volume, energy))
    places = np.flatnonzero(known & np.isfinite(pressure))
    cells = np.column_stack([CELLS * volume[places] / wide, CELLS * energy[places] / tall]).astype(
        int
    )
    _, first = np.unique(cells, axis=0, return_index=True)
    for place in places[first].tolist():
        v, e, p = volume[place], energy[place], pressure[place]
        step = min(0.015 * wide, 0.05 * tall / abs(p) if p else np.inf)
        ends = [v - step, v + step], [e + p * step, e - p * step]
        axes.plot(*ends, "-", color="black", lw=0.8, zorder=1)


def residuals(fit: EnergyFit) -> bytes:
    """Energies against the quick potential: two settings are two heaps."""
    figure = Figure(figsize=(10.6, 2.8), layout="constrained")
    axes = figure.subplots()
    _histogram(
        axes,
        1e3 * fit.residual_S,
        "energy per atom less that of the quick potential (meV)",
        COLORS["energy"],
    )
    return _png(figure)


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()
