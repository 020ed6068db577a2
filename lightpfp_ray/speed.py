"""How quick a potential is: the time of energies, forces and stress of one step of MD, per atom."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch

from .batch import Batch
from .mtp.model import MTP
from .training.context import Structures

ATOMS = 2000
"""About as many are evaluated together."""

REPEATS, AT_LEAST_S = 5, 0.5
"""How often they are evaluated, and for how long at least: the quickest time counts."""


def us_per_atom(model: MTP, structures: Structures) -> float:
    """Microseconds per atom on one core: the least of some repeats, without the neighbor search.

    Edges beyond the potential's cutoff are left out before.
    """
    batches = [batch.within(model.cutoff) for batch in _batches(structures)]
    n_atoms = sum(batch.n_atoms for batch in batches)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds, began = [], time.perf_counter()
        while len(seconds) <= REPEATS or time.perf_counter() - began < AT_LEAST_S:
            seconds.append(_seconds(model, batches))
    finally:
        torch.set_num_threads(threads)
    return 1e6 * min(seconds) / n_atoms


def _batches(structures: Structures) -> Iterator[Batch]:
    """At most twice `ATOMS` of a set, evenly spread over it, with edges of their own."""
    n_atoms = structures.counts.n_atoms
    share = max(1, round(n_atoms.sum() / (2 * ATOMS)))
    chosen = np.arange(0, len(structures), share)
    pieces = 1 + int(n_atoms[chosen].sum()) // ATOMS
    for some in np.array_split(chosen, min(pieces, len(chosen))):
        yield structures.batch(some)


def _seconds(model: MTP, batches: list[Batch]) -> float:
    began = time.perf_counter()
    for batch in batches:
        model(batch)
    return time.perf_counter() - began
