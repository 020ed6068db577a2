"""The picture of a sweep: error against time of a step, a point a potential."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .table import Row, front, title

BLUE, GREY = "#0b6e99", "#9aa0a6"


def pareto_plot(rows: Sequence[Row], objective: str, path: Path) -> None:
    """Finished trials, and a line through those that no other one beats, as a PNG.

    Without times of a step the errors stand over the number of parameters.
    """
    figure = Figure(figsize=(8, 5.2), layout="constrained", dpi=120)
    axes = figure.subplots()
    done = [row for row in rows if row.finished and _cost(row) is not None]
    axes.set_ylabel(title(objective).replace("/A", "/Å"))
    timed = any(row.us_per_atom is not None for row in rows)
    axes.set_xlabel("time of a step of MD (µs per atom, one core)" if timed else "parameters")
    if not done:
        axes.text(0.5, 0.5, "no finished trial", ha="center", transform=axes.transAxes, color=GREY)
    else:
        _points(axes, done)
    FigureCanvasAgg(figure).print_png(path, pil_kwargs={"optimize": True})


def _cost(row: Row) -> float | None:
    return row.us_per_atom if row.us_per_atom is not None else row.parameters


def _points(axes: Axes, done: Sequence[Row]) -> None:
    best = front(done)
    names = {row.trial.name for row in best}
    for row in done:
        color = BLUE if row.trial.name in names or not best else GREY
        axes.plot(_cost(row), 1e3 * row.error, "o", ms=6, color=color, zorder=3)
        axes.annotate(
            mark(row), (_cost(row), 1e3 * row.error), xytext=(5, 4), textcoords="offset points",
            fontsize=8, color=color,
        )  # fmt: skip
    if len(best) > 1:
        x, y = zip(*((row.us_per_atom, 1e3 * row.error) for row in best), strict=True)
        axes.plot(x, y, "-", color=BLUE, lw=1, zorder=2, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.tick_params(which="minor", labelsize=7)
    axes.grid(True, which="both", color="0.93")
    axes.set_axisbelow(True)
    axes.margins(0.12)


def mark(row: Row) -> str:
    """levmax / n_q, and what else was varied."""
    mtp = row.trial.control.mtp_config
    others = {k: v for k, v in row.trial.values.items() if k not in ("levmax", "n_q")}
    return ", ".join([f"{mtp.levmax}/{mtp.n_q}", *(f"{k} {v}" for k, v in others.items())])
