"""The whole examination of a set of structures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from ..batch import Batch
from ..data.collate import batch_from_structures
from ..data.structure import Structure
from ..units import GPA_PER_EV_A3
from .agreement import Agreement, agreement
from .findings import Finding, by_level
from .fit import blocks
from .geometry import geometry_findings, length_unit, nearest_distances, pair_table
from .labels import label_findings
from .survey import Survey, survey

SAMPLE_ATOMS = 8000
"""Atoms of the sample that the quick potential is fitted to: about 5 s of one core."""

REACH, LEAST_CUTOFF = 2.2, 4.5
"""Cutoff of the quick potential: so many nearest distances, at least so many A."""


@dataclass(frozen=True)
class Report:
    """What was looked at and what was found, errors first."""

    survey: Survey
    agreement: Agreement
    findings: list[Finding]

    def as_dict(self) -> dict:
        """For JSON."""
        return {
            "summary": summary(self.survey),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(structures: Iterable[Structure], sample_atoms: int = SAMPLE_ATOMS) -> Report:
    """Look at structures once; the order does not matter."""
    seen = survey(structures)
    found = [*label_findings(seen), *geometry_findings(seen)]
    agreed = _agreement(seen, sample_atoms)
    return Report(seen, agreed, by_level([*agreed.findings, *found]))


def _agreement(seen: Survey, sample_atoms: int) -> Agreement:
    chosen = sample_of(seen.kept, sample_atoms)
    structures = [seen.kept[place] for place in chosen]
    sources = [seen.sources[place] for place in chosen]
    first = _batches(structures[:60], 8.0)
    lengths, ratios = nearest_distances(first)
    wrong = length_unit(ratios)
    if wrong is not None:
        return Agreement((wrong, NOT_COMPARED))
    if len(lengths) < 10:
        return Agreement(())
    cutoff = max(REACH * float(np.median(lengths)), LEAST_CUTOFF)
    shortest = min(0.95 * float(np.quantile(lengths, 0.01)), 0.5 * cutoff)
    return agreement(_batches(structures, cutoff), sources, seen.kept, shortest, cutoff)


NOT_COMPARED = Finding(
    "not compared",
    "note",
    "energies, forces and stress were not compared with each other",
    "correct the lengths first",
)


def _batches(structures: Sequence[Structure], cutoff: float) -> list[Batch]:
    return [batch_from_structures(block, cutoff) for block in blocks(structures, cutoff)]


def sample_of(kept: dict[int, Structure], atoms: int) -> list[int]:
    """Places of structures with about so many atoms in all, evenly over the set; large ones only
    while none takes more than a tenth.
    """
    places = list(kept)
    order = np.random.default_rng(0).permutation(len(places))
    chosen, total = [], 0
    for n in order.tolist():
        size = len(kept[places[n]].numbers)
        if chosen and (total + size > atoms or (size > atoms / 10 and len(chosen) >= 10)):
            continue
        chosen.append(places[n])
        total += size
    return sorted(chosen)


def summary(seen: Survey) -> dict:
    """Counts and ranges: eV, A, GPa."""
    volume = seen["volume"] / seen["n_atoms"]
    return {
        "structures": len(seen),
        "atoms": int(seen["n_atoms"].sum()),
        "atoms per structure": _range(seen["n_atoms"]),
        "elements": {
            chemical_symbols[z]: int(n)
            for z, n in zip(seen.species, seen.counts_SC.sum(0), strict=True)
        },
        "compositions": compositions(seen),
        "groups": _counted(seen.groups),
        "energy per atom (eV)": _range(seen.energy_per_atom()),
        "largest force (eV/A)": _range(seen["max_force"]),
        "pressure (GPa)": _range(GPA_PER_EV_A3 * seen["pressure"]),
        "volume per atom (A^3)": _range(volume),
        "shortest distances (A)": {
            name: {"distance": r, "of covalent radii": ratio, "where": where}
            for name, r, ratio, where in pair_table(seen)
        },
    }


def compositions(seen: Survey) -> dict[str, int]:
    """Reduced formula, metals first -> structures, most frequent first."""
    rows, places = np.unique(seen.counts_SC.astype(int), axis=0, return_inverse=True)
    symbols = [chemical_symbols[z] for z in seen.species]
    names = []
    for row in rows:
        counts = {name: n for name, n in zip(symbols, row.tolist(), strict=True) if n}
        names.append(Formula.from_dict(counts).reduce()[0].format("metal"))
    return _counted([names[place] for place in places.ravel().tolist()])


def _counted(names: list[str]) -> dict[str, int]:
    values, counts = np.unique(np.array(names, dtype=object).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(values[i]): int(counts[i]) for i in order}


def _range(values: np.ndarray) -> dict[str, float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = (float(q) for q in np.quantile(known, [0, 0.5, 1]))
    return {"least": low, "median": middle, "most": high}


def summary_lines(seen: Survey) -> list[str]:
    """The summary for a person."""
    figures = summary(seen)
    elements = ", ".join(f"{name} {n}" for name, n in figures["elements"].items())
    formulas = figures["compositions"]
    named = ", ".join(f"{name} ({n})" for name, n in list(formulas.items())[:6])
    more = f" and {len(formulas) - 6} more" if len(formulas) > 6 else ""
    lines = [
        f"{figures['structures']} structures, {figures['atoms']} atoms: {elements}",
        f"compositions: {named}{more}",
    ]
    for name, values in figures.items():
        if isinstance(values, dict) and "median" in values:
            low, middle, high = values["least"], values["median"], values["most"]
            lines.append(f"{name}: {low:.6g} to {high:.6g}, median {middle:.6g}")
    pairs = figures["shortest distances (A)"].items()
    shortest = ", ".join(f"{name} {row['distance']:.3f}" for name, row in list(pairs)[:8])
    return [*lines, f"shortest distances (A): {shortest}"] if shortest else lines
