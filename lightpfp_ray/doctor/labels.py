"""Labels that are missing, zero in place of missing, or far from all others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..data.filter import NO_LABEL
from .findings import Finding, count_of
from .measure import spread_of
from .survey import ASYMMETRIC, Survey

NET_FORCE = 0.1
"""eV/A, of the net force over the square root of the number of atoms."""

LARGE_FORCE = 50.0
"""eV/A."""

FREE_VOLUME = 200.0
"""A^3; one atom alone in more is a free atom, whose energy is far from all others by nature."""

LEAST_OUTLIER = 1.0
"""eV per atom."""


def label_findings(survey: Survey) -> Iterator[Finding]:
    """Of labels, structure by structure."""
    for check in (_skipped, _missing, _zero, _not_periodic, _net_force, _large_force, _far_energy):
        yield from check(survey)


def _where(survey: Survey, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(str(survey.sources[i]) for i in np.flatnonzero(chosen).tolist())


def _skipped(survey: Survey) -> Iterator[Finding]:
    for reason, sources in survey.skipped.items():
        yield Finding(
            "skipped",
            "warning" if reason == NO_LABEL else "error",
            f"{count_of(len(sources))} cannot be used: {reason}",
            "correct or remove them; a training leaves them out",
            tuple(sources),
        )


def _missing(survey: Survey) -> Iterator[Finding]:
    for label, figure in (("energy", "energy"), ("forces", "max_force"), ("stress", "max_stress")):
        absent = np.isnan(survey[figure])
        if label == "stress":
            absent &= ~np.isnan(survey["volume"])
        if not absent.any():
            continue
        every = bool(np.isnan(survey[figure]).all())
        yield Finding(
            f"missing {label}",
            "note" if every or label == "stress" else "warning",
            f"no structure has {label}"
            if every
            else f"{count_of(int(absent.sum()), len(survey), 'have')} no {label}",
            f"set {label}_loss_coeff_list to zeros, or provide it"
            if every
            else "they do not count in its loss; provide the label if they should",
            () if every else _where(survey, absent),
        )


def _zero(survey: Survey) -> Iterator[Finding]:
    several = survey["n_atoms"] > 1
    zero_energy = survey["energy"] == 0
    if zero_energy.any() and (survey["energy"] != 0).any():
        yield _zeros(survey, "energy", zero_energy)
    unlikely = (survey["max_force"] == 0) & several & (survey["asymmetry"] > ASYMMETRIC)
    if unlikely.any():
        yield _zeros(survey, "forces", unlikely, "no symmetry of their sites makes them zero")
    no_stress = (survey["max_stress"] == 0) & (survey["max_force"] > 0)
    if no_stress.any():
        yield _zeros(survey, "stress", no_stress)


def _zeros(survey: Survey, label: str, chosen: np.ndarray, evidence: str = "") -> Finding:
    return Finding(
        f"zero {label}",
        "error",
        f"{count_of(int(chosen.sum()), len(survey), 'have')} {label} of exactly zero",
        "a label that is missing must be left out, not written as zeros",
        _where(survey, chosen),
        evidence,
    )


def _not_periodic(survey: Survey) -> Iterator[Finding]:
    if survey.stress_not_periodic:
        yield Finding(
            "stress not periodic",
            "note",
            f"the stress of {count_of(len(survey.stress_not_periodic))} that are not periodic "
            "along three vectors is not defined",
            'it is left out; if they are periodic, write pbc="T T T"',
            tuple(survey.stress_not_periodic),
        )


def _net_force(survey: Survey) -> Iterator[Finding]:
    net = survey["net_force"] / np.sqrt(survey["n_atoms"])
    chosen = (net > NET_FORCE) & (net > 0.05 * survey["rms_force"])
    if chosen.any():
        yield Finding(
            "net force",
            "warning",
            f"{count_of(int(chosen.sum()), len(survey), 'have')} forces that do not add up to zero",
            "no potential gives that: look for an external field, fixed atoms whose forces were "
            "set to zero, or forces of another frame",
            _where(survey, chosen),
            f"up to {survey['net_force'][chosen].max():.3g} eV/A",
        )


def _large_force(survey: Survey) -> Iterator[Finding]:
    largest = survey["max_force"]
    known = largest[np.isfinite(largest) & (largest > 0)]
    if not len(known):
        return
    chosen = largest > max(LARGE_FORCE, 3 * np.quantile(known, 0.9))
    if chosen.any():
        yield Finding(
            "large force",
            "warning",
            f"{count_of(int(chosen.sum()), len(survey), 'have')} forces far above all others",
            "exploded frames spoil a fit: leave them out with common_config.max_forces "
            f"{3 * np.quantile(known, 0.9):.3g}",
            _where(survey, chosen),
            f"up to {np.nanmax(largest):.3g} eV/A, nine tenths of the structures stay below "
            f"{np.quantile(known, 0.9):.3g}",
        )


def reference_energies(survey: Survey) -> np.ndarray:
    """Energies per atom (S) after the least squares E0 of the elements, outliers counting less."""
    energy = survey.energy_per_atom()
    fractions = survey.counts_SC / survey["n_atoms"][:, None]
    known = np.isfinite(energy)
    left = np.full(len(energy), np.nan)
    weight = np.ones(int(known.sum()))
    if not len(weight):
        return left
    for _ in range(8):
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(
            fractions[known] * root[:, None], energy[known] * root, rcond=1e-10
        )[0]
        left[known] = energy[known] - fractions[known] @ solution
        residual = np.abs(left[known])
        weight = 1 / np.maximum(1, residual / (2 * 1.4826 * np.median(residual) + 1e-9))
    return left


def _far_energy(survey: Survey) -> Iterator[Finding]:
    left = reference_energies(survey)
    if np.isfinite(left).sum() < 10:
        return
    distance = np.abs(left - np.nanmedian(left))
    free = (survey["n_atoms"] == 1) & ~(survey["volume"] < FREE_VOLUME)
    distance[free] = 0.0
    chosen = distance > max(10 * spread_of(left), LEAST_OUTLIER)
    if chosen.any():
        yield Finding(
            "far energy",
            "warning",
            f"{count_of(int(chosen.sum()), len(survey), 'have')} energies far from all others, "
            "after the best energies of the free elements",
            "look at them: an exploded frame, another unit, or an unconverged calculation; leave "
            "them out with common_config.max_energy",
            _where(survey, chosen),
            f"up to {np.nanmax(distance):.3g} eV per atom, the others spread over "
            f"{spread_of(left):.2g}",
        )
