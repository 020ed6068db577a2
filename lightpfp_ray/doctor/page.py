"""doctor.html: findings, pictures and tables of a set in one page that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html import escape

from ..html_page import folded, heading, paragraph, picture, table
from ..html_page import page as html_page
from . import pictures
from .examine import Report, summary
from .findings import NAMED, Finding
from .geometry import pair_table

COLORS = {"error": "#b3261e", "warning": "#b06000", "note": "#0b6e99"}

MOST_ROWS = 20
"""Rows of a table; what is beyond is counted."""


def page(report: Report, data: list[str]) -> str:
    """The page as HTML."""
    figures = summary(report.survey)
    counts = {level: sum(f.level == level for f in report.findings) for level in COLORS}
    told = ", ".join(_plural(n, level) for level, n in counts.items() if n) or "nothing was found"
    subtitle = (
        f"{' '.join(data)}: {figures['structures']:,} structures, {figures['atoms']:,} atoms; "
        f"{told}; {time.strftime('%Y-%m-%d %H:%M')}"
    )
    sections = [
        ("findings", "Findings", "\n".join(_findings(report.findings))),
        ("ranges", "Ranges", _ranges(report, figures)),
        ("volume", "Energy over volume", _energy_over_volume(report)),
        ("agreement", "Do the labels agree?", _agreement(report)),
        ("composition", "Compositions and groups", _compositions(figures)),
        ("distances", "Shortest distances", _distances(report)),
    ]
    return html_page("Labelled structures: what the doctor found", subtitle, sections)


def _plural(n: int, level: str) -> str:
    return f"{n} {level}" if n == 1 else f"{n} {level}s"


def _findings(findings: list[Finding]) -> Iterator[str]:
    if not findings:
        yield paragraph(
            "Nothing was found: units, signs, missing and zero labels, outliers, distances and "
            "duplicates were looked at."
        )
    for finding in findings:
        color = COLORS[finding.level]
        yield (
            f'<div style="border-left: 4px solid {color}; padding: 2px 0 2px 12px; '
            f'margin: 12px 0"><p><b style="color: {color}">{finding.level}:</b> '
            f"<b>{escape(finding.what)}</b></p>"
        )
        if finding.evidence:
            yield paragraph(f"How it is known: {finding.evidence}.")
        yield paragraph(f"What to do: {finding.do}.")
        if len(finding.where) > NAMED:
            yield folded(f"{len(finding.where):,} structures", "\n".join(finding.where))
        elif finding.where:
            yield paragraph(f"Where: {', '.join(finding.where)}")
        yield "</div>"


def _ranges(report: Report, figures: dict) -> str:
    rows = [
        [name, values["least"], values["median"], values["most"]]
        for name, values in figures.items()
        if isinstance(values, dict) and "median" in values
    ]
    return table(["", "least", "median", "most"], rows) + picture(
        pictures.ranges(report.survey),
        "Structures by energy, largest force, pressure (positive: compressed) and shortest "
        "distance. Counts are on a logarithmic scale, so that a single structure shows.",
    )


def _energy_over_volume(report: Report) -> str:
    return picture(
        pictures.energy_over_volume(report.survey),
        "Each line has the slope that the pressure of its structure says, -P = dE/dV. Along a "
        "curve of one crystal at several volumes the lines must lie on the curve: lines across it "
        "mean a wrong sign or unit of the stress.",
    )


def _agreement(report: Report) -> str:
    found = report.agreement
    parts = []
    if found.energies is not None and found.forces is not None:
        rows = [
            ["energies per atom (eV)", found.energies.spread, found.energies.error],
            ["force components (eV/A)", found.forces.spread, found.forces.error],
        ]
        parts += [
            paragraph(
                "A quick potential (random radial functions, linear least squares) was fitted to "
                f"energies and forces of a sample of {len(found.energies.residual_S)} structures, "
                f"with the energies taken as {found.energies.unit}. It is no potential to use, "
                "but labels that contradict one another stand out from it."
            ),
            table(["", "spread of the labels", "left by the quick potential"], rows),
            picture(
                pictures.residuals(found.energies),
                "Energies against the quick potential, in the unit that fits best. Two heaps are "
                "two settings in one set.",
            ),
        ]
    rows = [
        [name, fit.factor, fit.correlation, fit.count]
        for name, fit in (("shear part", found.shear), ("pressure", found.pressure))
        if fit is not None
    ]
    if rows:
        parts += [
            heading("Stress"),
            table(["against the quick potential", "factor", "correlation", "values"], rows),
        ]
    if found.strained is not None:
        s = found.strained
        parts.append(
            paragraph(
                f"Over {s.pairs} pairs among {s.structures} strained copies, the energy changes by "
                f"{s.factor:.4g} times the work of the stress as it is labelled (1 where units and "
                "sign are right)."
            )
        )
    return "\n".join(parts) or paragraph(
        "There are too few structures with forces, or strained copies, to compare the labels."
    )


def _compositions(figures: dict) -> str:
    parts = [_counts("composition", figures["compositions"])]
    groups = figures["groups"]
    if set(groups) != {""}:
        parts.append(_counts("group", {name or "(none)": n for name, n in groups.items()}))
    return "\n".join(parts)


def _counts(title: str, counts: dict[str, int]) -> str:
    rows = list(counts.items())[:MOST_ROWS]
    left = sum(list(counts.values())[MOST_ROWS:])
    if left:
        rows.append((f"{len(counts) - MOST_ROWS} more", left))
    return table([title, "structures"], rows)


def _distances(report: Report) -> str:
    rows = [list(row) for row in pair_table(report.survey)]
    if not rows:
        return paragraph("No two atoms are within a bond's length of each other.")
    head = ["pair", "shortest (A)", "of the covalent radii", "where"]
    return table(head, rows[:MOST_ROWS])
