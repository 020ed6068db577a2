"""Figures of every structure, and a sample of the structures themselves: what the checks look at.

Memory grows by some hundred bytes a structure; structures are kept while their atoms are few, and
beyond that a sample that depends on their content alone.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import covalent_radii

from ..data.filter import skip_reason
from ..data.neighbors import edge_lengths, edges
from ..data.schema import content_hash
from ..data.structure import Structure

KEPT_ATOMS = 200_000
"""Atoms of the structures that are kept."""

NEAR = 1.25
"""The shortest distances are looked for up to so many sums of covalent radii."""

ASYMMETRIC = 0.02
"""Of a site: |sum w u| / sum w over its neighbors, above which symmetry forbids no force."""

COLUMNS = (
    "n_atoms",
    "energy",
    "volume",
    "pressure",
    "max_force",
    "rms_force",
    "net_force",
    "max_stress",
    "shortest",
    "closeness",
    "asymmetry",
)


@dataclass
class Survey:
    """S structures: arrays of length S by name (float64, NaN where there is none)."""

    sources: Sequence[str]
    groups: list[str]
    ids: list[str]  # of all the structure says
    atoms_ids: list[str]  # of its atoms and cell alone
    figures: dict[str, np.ndarray]
    species: list[int]
    counts_SC: np.ndarray  # atoms of each species
    skipped: dict[str, list[str]]  # reason of the filter -> sources
    pairs: dict[tuple[int, int], tuple[float, str]]  # species pair -> shortest distance, source
    stress_not_periodic: list[str]
    kept: dict[int, Structure] = field(default_factory=dict)  # by place among the S

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.figures[name]

    def energy_per_atom(self) -> np.ndarray:
        return self["energy"] / self["n_atoms"]


class Surveyor:
    """Takes in one structure after the other; `distances` costs an edge search for each."""

    def __init__(self, distances: bool = True) -> None:
        self.distances = distances
        self.rows: list[tuple[float, ...]] = []
        self.compositions: list[Counter] = []
        self.sources: list[str] = []
        self.groups: list[str] = []
        self.ids: list[str] = []
        self.atoms_ids: list[str] = []
        self.skipped: dict[str, list[str]] = {}
        self.pairs: dict[tuple[int, int], tuple[float, str]] = {}
        self.stress_not_periodic: list[str] = []
        self._kept: list[tuple[int, int, Structure]] = []
        self._kept_atoms = 0

    def add(self, structure: Structure) -> None:
        """Count a structure; one that training would skip is only listed."""
        reason = skip_reason(structure, np.inf, np.inf)
        if reason:
            self.skipped.setdefault(reason, []).append(structure.source)
            return
        if structure.stress is not None and not structure.pbc.all():
            self.stress_not_periodic.append(structure.source)
        labels = _label_figures(structure)
        geometry = self._geometry(structure) if self.distances else (np.nan,) * 3
        self.rows.append((len(structure.numbers), *labels, *geometry))
        self.compositions.append(Counter(structure.numbers.tolist()))
        self.sources.append(structure.source)
        self.groups.append(structure.group)
        self.ids.append(content_hash(structure))
        self.atoms_ids.append(_atoms_id(structure))
        self._keep(structure)

    def finish(self) -> Survey:
        """What was seen."""
        table = np.array(self.rows, float).reshape(-1, len(COLUMNS))
        species = sorted({z for c in self.compositions for z in c})
        return Survey(
            sources=self.sources,
            groups=self.groups,
            ids=self.ids,
            atoms_ids=self.atoms_ids,
            figures=dict(zip(COLUMNS, table.T, strict=True)),
            species=species,
            counts_SC=np.array([[c[z] for z in species] for c in self.compositions], float).reshape(
                len(self.sources), len(species)
            ),
            skipped=self.skipped,
            pairs=self.pairs,
            stress_not_periodic=self.stress_not_periodic,
            kept={place: structure for _, place, structure in sorted(self._kept, key=_place)},
        )

    def _keep(self, structure: Structure) -> None:
        """Those with the smallest hashes are kept, so that the sample does not depend on order."""
        place = len(self.sources) - 1
        heapq.heappush(self._kept, (_inverted(self.ids[-1]), place, structure))
        self._kept_atoms += len(structure.numbers)
        while self._kept_atoms > KEPT_ATOMS and len(self._kept) > 1:
            self._kept_atoms -= len(heapq.heappop(self._kept)[2].numbers)

    def _geometry(self, structure: Structure) -> tuple[float, float, float]:
        """Shortest distance (A), the smallest over covalent radii, and asymmetry of the sites."""
        radii = covalent_radii[structure.numbers]
        reach = NEAR * 2 * float(radii.max())
        found = edges(structure.positions, structure.cell, structure.pbc, reach)
        if not len(found[0]):
            return np.nan, np.nan, np.nan
        lengths = edge_lengths(structure.positions, structure.cell, *found)
        self._note_pairs(structure, found, lengths)
        closeness = lengths / (radii[found[0]] + radii[found[1]])
        zero = structure.forces is not None and not structure.forces.any()
        asymmetry = asymmetry_of(structure) if zero else np.nan
        return float(lengths.min()), float(closeness.min()), asymmetry

    def _note_pairs(self, structure: Structure, found, lengths: np.ndarray) -> None:
        numbers = structure.numbers
        first = np.minimum(numbers[found[0]], numbers[found[1]])
        second = np.maximum(numbers[found[0]], numbers[found[1]])
        for code in np.unique(200 * first + second).tolist():
            pair = divmod(code, 200)
            shortest = float(lengths[200 * first + second == code].min())
            if shortest < self.pairs.get(pair, (np.inf, ""))[0]:
                self.pairs[pair] = (shortest, structure.source)


def survey(structures: Iterable[Structure], distances: bool = True) -> Survey:
    """Look at structures once, in their order."""
    surveyor = Surveyor(distances)
    for structure in structures:
        surveyor.add(structure)
    return surveyor.finish()


def _label_figures(structure: Structure) -> tuple[float, ...]:
    """energy, volume, pressure, largest and rms force, net force, largest stress component."""
    energy = np.nan if structure.energy is None else structure.energy
    periodic = bool(structure.pbc.all())
    volume = abs(np.linalg.det(structure.cell)) if periodic else np.nan
    has_stress = structure.stress is not None and periodic
    pressure = -structure.stress[:3].mean() if has_stress else np.nan
    largest = np.abs(structure.stress).max() if has_stress else np.nan
    if structure.forces is None:
        return energy, volume, pressure, np.nan, np.nan, np.nan, largest
    squares = (structure.forces**2).sum(1)
    net = np.linalg.norm(structure.forces.sum(0))
    rms = np.sqrt(squares.mean())
    return energy, volume, pressure, np.sqrt(squares.max()), rms, net, largest


def asymmetry_of(structure: Structure) -> float:
    """The largest |sum_j w(r) u| / sum_j w(r) of a site: zero where symmetry makes its force zero,
    whatever the potential.
    """
    reach = 1.5 * NEAR * 2 * float(covalent_radii[structure.numbers].max())
    center, neighbor, shift = edges(structure.positions, structure.cell, structure.pbc, reach)
    r = (
        structure.positions[neighbor]
        + shift @ structure.cell.astype(float)
        - structure.positions[center]
    )
    length = np.linalg.norm(r, axis=1)
    weight = (1 - (length / reach) ** 2) ** 2
    total = np.zeros((len(structure.numbers), 4))
    np.add.at(total, center, np.column_stack([weight[:, None] * r / length[:, None], weight]))
    lengths = np.linalg.norm(total[:, :3], axis=1)
    return float((lengths / np.maximum(total[:, 3], 1e-300)).max())


def _atoms_id(structure: Structure) -> str:
    parts = (structure.numbers, structure.positions, structure.cell, structure.pbc)
    content = b"".join((np.asarray(part, "<f8") + 0.0).tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()


def _inverted(identity: str) -> int:
    return -int(identity[:15], 16)


def _place(entry: tuple[int, int, Structure]) -> int:
    return entry[1]
