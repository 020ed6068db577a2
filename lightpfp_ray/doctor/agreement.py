"""Do energies, forces and stress say the same? Their units, their signs, their constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..batch import Batch
from ..data.structure import Structure
from ..units import GPA_PER_EV_A3
from .findings import Finding
from .fit import design
from .measure import (
    ENERGY_UNITS,
    PER_ATOM,
    STRESS_UNITS,
    Branches,
    EnergyFit,
    Forces,
    Sample,
    StressFit,
    find_branches,
    fit_energies,
    fit_forces,
    fit_stress,
)
from .strain import StrainTest, strain_test

MODELS = 3
"""Random potentials whose basis functions are joined."""

CLEAR = 0.2
"""Another unit must leave less than this part of the score of eV."""

EXPLAINED = 0.01
"""A score below which eV is right whatever other units say."""

APART, FEWEST, LEAST = 10.0, 0.05, 4
"""Two settings: their distance over the deviation within, and the smaller's part and number."""

NEARLY = 5.0
"""Units whose scores are within this factor cannot be told apart by a fit."""

RELIABLE = 0.8
"""Correlation of labels with predictions from which on they can be compared."""

LEAST_OFFSET = 0.3 / GPA_PER_EV_A3
"""eV/A^3; a constant stress below it is not told."""


@dataclass(frozen=True)
class Agreement:
    """What was found, and the figures behind it."""

    findings: tuple[Finding, ...]
    energies: EnergyFit | None = None
    forces: Forces | None = None
    branches: Branches | None = None
    shear: StressFit | None = None
    pressure: StressFit | None = None
    strained: StrainTest | None = None


def agreement(
    batches: Sequence[Batch],
    sources: Sequence[str],
    structures: Mapping[int, Structure],
    shortest: float,
    cutoff: float,
    seed: int = 0,
) -> Agreement:
    """Of a sample in batches, with the sources of its structures, and of all structures at hand for
    strained copies. `shortest`: a distance (A) below which there are few edges.
    """
    forces = energies = branches = shear = pressure = None
    findings: list[Finding] = []
    if batches:
        sample = Sample.of(batches, design(batches, shortest, cutoff, seed, MODELS))
        forces = fit_forces(sample)
    if forces is not None:
        fits = fit_energies(sample, forces)
        energies, branches = _energies(sample, forces, fits)
        energies = _sharpened(fits, energies, strain_test(structures))
        findings += _energy_findings(fits, energies, branches, sources)
        if energies is not None:
            shear, pressure = fit_stress(sample, energies.x_P)
    unit = energies.unit if energies else "eV"
    strained = strain_test(_in_ev(structures, unit))
    if strained is not None and strained.correlation < 0.95:
        strained = None
    findings += _stress_findings(strained, shear, pressure)
    return Agreement(tuple(findings), energies, forces, branches, shear, pressure, strained)


def _energies(
    sample: Sample, forces: Forces, fits: list[EnergyFit]
) -> tuple[EnergyFit | None, Branches | None]:
    """The unit of the energies, or two settings, whichever explains them better."""
    in_ev = next((fit for fit in fits if fit.unit == "eV"), None)
    if in_ev is None:
        return None, None
    branches = find_branches(sample, forces, in_ev)
    if branches is not None:
        smaller = branches.smaller_S.sum()
        enough = smaller >= max(LEAST, FEWEST * np.isfinite(sample.energy_S).sum())
        clear = enough and abs(branches.gap) > APART * branches.width
        score = (branches.width / in_ev.spread) ** 2
        if clear and score < CLEAR * fits[0].score:
            return in_ev, branches
    known = fits[0].score < CLEAR * in_ev.score and in_ev.score > EXPLAINED
    return (fits[0] if known else in_ev), None


def _sharpened(
    fits: list[EnergyFit], chosen: EnergyFit | None, strained: StrainTest | None
) -> EnergyFit | None:
    """Of units that a fit can hardly tell apart, the one in which the work of the stress is the
    change of the energy, for a stress in any unit.
    """
    if chosen is None or chosen.unit in ("eV", PER_ATOM) or strained is None or not strained.factor:
        return chosen
    near = [f for f in fits if f.score < NEARLY * chosen.score and f.unit not in ("eV", PER_ATOM)]

    def distance(fit: EnergyFit) -> float:
        factor = abs(strained.factor) * ENERGY_UNITS[fit.unit]
        return min(abs(np.log(factor / unit)) for unit in STRESS_UNITS.values())

    return min(near, key=distance)


def _energy_findings(
    fits: list[EnergyFit],
    chosen: EnergyFit | None,
    branches: Branches | None,
    sources: Sequence[str],
) -> Iterator[Finding]:
    if branches is not None:
        smaller = tuple(sources[i] for i in np.flatnonzero(branches.smaller_S))
        yield Finding(
            "two energy settings",
            "error",
            f"energies are of two settings: {len(smaller)} of {len(sources)} structures of a "
            f"sample lie {branches.gap:+.3g} eV per atom from the others",
            "label all with one setting (functional, pseudopotential, reference), or shift one set",
            smaller,
            f"one potential and a constant explain both to {branches.width:.2g} eV per atom",
        )
    elif chosen is not None and chosen.unit != "eV":
        in_ev = next(fit for fit in fits if fit.unit == "eV")
        per_atom = chosen.unit == PER_ATOM
        yield Finding(
            "energy per atom" if per_atom else "energy unit",
            "error",
            "energies are per atom, not of the whole structure"
            if per_atom
            else f"energies do not fit the forces as eV; they look like {chosen.unit}",
            "write the total energy in eV"
            if per_atom
            else f"multiply them by {ENERGY_UNITS[chosen.unit]:.6g}, or write them in eV",
            evidence=f"a quick potential leaves {_part(chosen.score)} of their differences "
            f"unexplained, {_part(in_ev.score)} if they were total energies in eV",
        )


def _part(score: float) -> str:
    return f"{100 * np.sqrt(min(max(score, 0.0), 1.0)):.0f} %"


def _in_ev(structures: Mapping[int, Structure], unit: str) -> dict[int, Structure]:
    def factor(s: Structure) -> float:
        return len(s.numbers) if unit == PER_ATOM else ENERGY_UNITS[unit]

    return {
        place: s if unit == "eV" or s.energy is None else replace(s, energy=factor(s) * s.energy)
        for place, s in structures.items()
    }


def _stress_findings(
    strained: StrainTest | None, shear: StressFit | None, pressure: StressFit | None
) -> Iterator[Finding]:
    found = _stress_factor(strained, shear, pressure)
    if found is None:
        return
    factor, tolerance, evidence = found
    unit = min(STRESS_UNITS, key=lambda u: abs(np.log(abs(factor) / STRESS_UNITS[u])))
    known = abs(np.log(abs(factor) / STRESS_UNITS[unit])) < tolerance
    if not known:
        yield Finding(
            "stress unit",
            "warning",
            f"stress does not agree with energies and forces in any unit: {factor:.3g} times it "
            "would",
            "write it in eV/A^3, positive under tension; is it a virial, or of another frame?",
            evidence=evidence,
        )
    elif unit != "eV/A^3" or factor < 0:
        sign = ", with the sign turned (compression is positive)" if factor < 0 else ""
        yield Finding(
            "stress sign" if unit == "eV/A^3" else "stress unit",
            "error",
            f"stress is in {unit}{sign}, expected eV/A^3, positive under tension"
            if unit != "eV/A^3"
            else "stress has the wrong sign: compression is positive, expected tension",
            f"multiply it by {np.sign(factor) * STRESS_UNITS[unit]:.6g}",
            evidence=evidence,
        )
    if strained is not None and known:
        yield from _offset(strained)


def _offset(strained: StrainTest) -> Iterator[Finding]:
    if abs(strained.offset) > max(LEAST_OFFSET, 5 * strained.offset_error):
        yield Finding(
            "stress offset",
            "note",
            f"stress lacks a constant pressure of {-strained.offset * GPA_PER_EV_A3:+.2f} GPa "
            "against the energies",
            "the basis set of the calculation is small for its stress (Pulay): raise its cutoff, "
            "or give stress a small coefficient",
            evidence=f"{strained.pairs} pairs of strained copies, "
            f"+- {strained.offset_error * GPA_PER_EV_A3:.2f} GPa",
        )


def _stress_factor(
    strained: StrainTest | None, shear: StressFit | None, pressure: StressFit | None
) -> tuple[float, float, str] | None:
    """The factor that makes the label a stress in eV/A^3, how far it may be off (log), and how it
    is known.
    """
    if strained is not None and strained.factor:
        evidence = (
            f"energies of {strained.structures} strained copies change by "
            f"{strained.factor:.4g} times its work"
        )
        return strained.factor, np.log(1.25), evidence
    for fit, name in ((shear, "shear"), (pressure, "pressure")):
        if fit is not None and abs(fit.correlation) > RELIABLE and fit.factor:
            evidence = (
                f"a quick potential predicts {fit.factor:.3g} times the {name}, correlation "
                f"{fit.correlation:.2f}"
            )
            return fit.factor, np.log(2.5), evidence
    return None
