"""Which elements, and which pairs of elements at normal distances, some structures hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from ..data.neighbors import edge_lengths, edges
from ..data.structure import Structure

NORMAL = (0.75, 1.35)
"""Distances of neighbors, by the sum of their radii."""


@dataclass(frozen=True)
class Coverage:
    """In how many structures an element is, and a pair of elements side by side."""

    elements: Counter[int]  # by atomic number
    pairs: Counter[tuple[int, int]]  # the smaller number first
    classes: Counter[str]
    n_atoms: int

    def lines(self, symbols: Sequence[str]) -> list[str]:
        """What is to be said of structures that were made for these elements."""
        numbers = sorted(atomic_numbers[s] for s in symbols)
        wanted = list(combinations_with_replacement(numbers, 2))
        seen = sum(pair in self.pairs for pair in wanted)
        often = sorted(self.pairs[pair] for pair in wanted)
        return [
            f"{sum(self.classes.values())} structures, {self.n_atoms} atoms: "
            + ", ".join(f"{name} {n}" for name, n in self.classes.most_common()),
            f"elements: {sum(z in self.elements for z in numbers)} of {len(numbers)}, each in "
            f"{min(self.elements[z] for z in numbers)} or more structures",
            f"pairs at normal distances: {seen} of {len(wanted)}, half of them in "
            f"{often[len(often) // 2]} or more structures",
        ]


def coverage(structures: Iterable[Structure]) -> Coverage:
    """Count elements, pairs, classes and atoms."""
    elements, pairs, classes, n_atoms = Counter(), Counter(), Counter(), 0
    for structure in structures:
        elements.update(set(structure.numbers.tolist()))
        pairs.update(pairs_of(structure))
        classes[structure.group] += 1
        n_atoms += len(structure.numbers)
    return Coverage(elements, pairs, classes, n_atoms)


def pairs_of(structure: Structure) -> set[tuple[int, int]]:
    """Pairs of elements that are neighbors, the smaller atomic number first."""
    radii = covalent_radii[structure.numbers]
    reach = 2 * NORMAL[1] * float(radii.max())
    found = edges(structure.positions, structure.cell, structure.pbc, reach)
    lengths = edge_lengths(structure.positions, structure.cell, *found)
    relative = lengths / (radii[found[0]] + radii[found[1]])
    near = (relative > NORMAL[0]) & (relative < NORMAL[1])
    kinds = np.sort(np.stack([structure.numbers[part[near]] for part in found[:2]], 1), 1)
    return {(int(a), int(b)) for a, b in np.unique(kinds, axis=0)}
