"""Atoms too near, lengths in another unit, structures that are there more than once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from ..batch import Batch
from .findings import Finding, count_of
from .measure import BOHR
from .survey import Survey

TOO_NEAR = 0.6
"""Of the sum of the covalent radii."""

NOBLE = (2, 10, 18, 36, 54, 86)
"""Elements whose neighbors are not at covalent distances."""

USUAL = (0.75, 1.5)
"""Of the distance to the nearest neighbor over the covalent radii, for nearly all solids and
molecules.
"""


def geometry_findings(survey: Survey) -> Iterator[Finding]:
    """Of atoms and cells, structure by structure."""
    yield from _near(survey)
    yield from _empty(survey)
    yield from _duplicates(survey)
    yield from _other_labels(survey)


def _near(survey: Survey) -> Iterator[Finding]:
    chosen = survey["closeness"] < TOO_NEAR
    if chosen.any():
        yield Finding(
            "near atoms",
            "warning",
            f"{count_of(int(chosen.sum()), len(survey), 'have')} atoms far closer than a bond",
            "look at them: an exploded frame, atoms outside of a cell that is too small, or "
            "lengths in another unit; leave them out with lightpfp_ray.min_distance",
            tuple(survey.sources[i] for i in np.flatnonzero(chosen)),
            f"down to {np.nanmin(survey['closeness']):.2f} of the covalent radii",
        )


def _empty(survey: Survey) -> Iterator[Finding]:
    volume = survey["volume"] / survey["n_atoms"]
    several = np.isfinite(volume) & (survey["n_atoms"] > 1)
    if several.sum() < 10:
        return
    chosen = several & (volume > 4 * np.median(volume[several]))
    if chosen.any():
        yield Finding(
            "large volume",
            "note",
            f"{count_of(int(chosen.sum()), len(survey), 'have')} far more volume per atom than the "
            "others",
            "right for molecules and slabs in vacuum; else look at the cells",
            tuple(survey.sources[i] for i in np.flatnonzero(chosen)),
            f"up to {volume[several].max():.3g} A^3, median {np.median(volume[several]):.3g}",
        )


def _duplicates(survey: Survey) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    again = [
        survey.sources[place]
        for place, identity in enumerate(survey.ids)
        if seen.setdefault(identity, place) != place
    ]
    if again:
        yield Finding(
            "duplicates",
            "warning",
            f"{count_of(len(again), len(survey), 'are')} there before, with all their labels",
            "each counts as often as it is there: remove them if that is not meant",
            tuple(again),
            "equal to the last bit",
        )


def _other_labels(survey: Survey) -> Iterator[Finding]:
    places = defaultdict(list)
    for place, identity in enumerate(survey.atoms_ids):
        places[identity].append(place)
    groups = [g for g in places.values() if len({survey.ids[i] for i in g}) > 1]
    if groups:
        energy = survey.energy_per_atom()
        largest = max(float(np.ptp(energy[g])) for g in groups)
        yield Finding(
            "other labels",
            "error" if largest > 0.01 else "warning",
            f"{count_of(len(groups), None, 'are')} there with the same atoms and other labels",
            "labels of two settings are in one set: keep those of one",
            tuple(survey.sources[i] for g in groups for i in g[:2]),
            f"energies differ by up to {largest:.3g} eV per atom",
        )


def nearest_distances(batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Of each atom that has a neighbor within the cutoff: the distance to the nearest (A), and the
    smallest distance over the sum of covalent radii; noble gases left out.
    """
    lengths, ratios = [], []
    for batch in batches:
        center, neighbor = batch.center_E.numpy(), batch.neighbor_E.numpy()
        numbers = batch.numbers_A.numpy()
        r = batch.edge_vectors().norm(dim=-1).numpy()
        radii = covalent_radii[numbers].copy()
        radii[np.isin(numbers, NOBLE)] = np.nan
        for values, found in (
            (r, lengths),
            (r / (radii[center] + radii[neighbor]), ratios),
        ):
            nearest = np.full(batch.n_atoms, np.inf)
            np.minimum.at(nearest, center, values)
            found.append(nearest[np.isfinite(nearest)])
    return np.concatenate([[], *lengths]), np.concatenate([[], *ratios])


def length_unit(ratios: np.ndarray) -> Finding | None:
    """A finding where bonds are too long or too short for Angstrom."""
    if len(ratios) < 10:
        return None
    typical = float(np.median(ratios))
    evidence = f"nearest neighbors at {typical:.2f} of the covalent radii, the median of a sample"
    if typical > USUAL[1]:
        in_bohr = USUAL[0] < typical * BOHR < USUAL[1]
        guess = "they look like Bohr (1 Bohr = 0.5292 A)" if in_bohr else "no unit explains them"
    elif typical < USUAL[0]:
        in_nm = USUAL[0] < typical * 10 < USUAL[1]
        guess = "they look like nm" if in_nm else "positions or cell are wrong"
    else:
        return None
    return Finding(
        "length unit",
        "error",
        f"distances are not in Angstrom: {guess}",
        "give positions and cell in Angstrom",
        evidence=evidence,
    )


def pair_table(survey: Survey) -> list[tuple[str, float, float, str]]:
    """Pair, shortest distance (A), the same over covalent radii, where; shortest first."""
    rows = []
    for (first, second), (shortest, source) in survey.pairs.items():
        name = "-".join(sorted((chemical_symbols[first], chemical_symbols[second])))
        radii = covalent_radii[first] + covalent_radii[second]
        rows.append((name, shortest, shortest / radii, source))
    return sorted(rows, key=lambda row: row[2])
