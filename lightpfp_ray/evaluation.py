"""Errors of a potential over labelled structures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .batch import Batch
from .data.collate import batch_from_structures
from .data.filter import NO_LABEL, skip_reason
from .data.keys import KNOWN_NAMES, Keys
from .data.read import expand_paths, read_structures
from .data.structure import Structure
from .errors import UserError
from .mtp.model import MTP
from .training.context import Structures
from .training.loss import LABELS, Labels, figures, sums

BLOCK = 32
"""Structures that are evaluated together."""

SCALES = {
    "energy": (1e3, "meV/atom"),
    "forces": (1e3, "meV/A"),
    "stress": (1e3, "meV/A^3"),
}
"""What people read: factor from eV, eV/A, eV/A^3, and its unit."""


def evaluate(model: MTP, batches: Iterable[Batch]) -> dict[str, float | int | None]:
    """MAE and RMSE of energy per atom, force components and stress components in eV/atom, eV/A,
    eV/A^3, None where there is no label; and the number of structures.
    """
    total = torch.zeros(3, 4, dtype=torch.float64)
    count = dict.fromkeys(LABELS, 0)
    n_structures = 0
    for batch in batches:
        total += sums(model(batch), batch).detach()
        n_structures += batch.n_structures
        labels = (batch.energy_S, batch.forces_A3, batch.stress_S6)
        for label, values in zip(LABELS, labels, strict=True):
            count[label] += int((~values.isnan()).sum())
    found = figures(total, Labels(count, count), dict.fromkeys(LABELS, 0.0), "mse")
    return errors_of(found, n_structures)


def errors_of(
    record: Mapping[str, float | None], n_structures: int
) -> dict[str, float | int | None]:
    """The same figures out of what the training loop found."""
    names = [f"{label}_{kind}" for label in LABELS for kind in ("mae", "rmse")]
    return {name: record[name] for name in names} | {"structures": n_structures}


@dataclass(frozen=True)
class Blocks:
    """Batches of BLOCK structures of a set, drawn anew each time they are asked for."""

    structures: Structures

    def __iter__(self) -> Iterator[Batch]:
        n = len(self.structures)
        for start in range(0, n, BLOCK):
            yield self.structures.batch(np.arange(start, min(start + BLOCK, n)))


def structures_of_files(
    arguments: Sequence[str], model: MTP, keys: Keys = KNOWN_NAMES, labelled: bool = True
) -> Iterator[list[Structure]]:
    """All structures of files, folders and globs, BLOCK at a time. Raises UserError for one that
    cannot be evaluated, or has no label where one is needed.
    """
    block = []
    for path in expand_paths(arguments):
        for structure in read_structures(path, keys):
            _refuse(structure, model, labelled)
            block.append(structure)
            if len(block) == BLOCK:
                yield block
                block = []
    if block:
        yield block


def batches_of_files(
    arguments: Sequence[str], model: MTP, keys: Keys = KNOWN_NAMES, labelled: bool = True
) -> Iterator[Batch]:
    """The same in batches."""
    for block in structures_of_files(arguments, model, keys, labelled):
        yield batch_from_structures(block, model.cutoff)


def _refuse(structure: Structure, model: MTP, labelled: bool) -> None:
    unknown = sorted(set(structure.numbers.tolist()) - set(model.species))
    if unknown:
        raise UserError(
            f"{structure.source} holds atomic numbers {unknown}, the potential knows "
            f"{list(model.species)}: leave the structure out, or train on these elements"
        )
    reason = skip_reason(structure, float("inf"), float("inf"))
    if reason and (labelled or reason != NO_LABEL):
        raise UserError(f"{structure.source}: {reason}: correct the file, or leave it out")


def table(metrics: Mapping[str, Mapping[str, float | int | None]]) -> list[str]:
    """Lines of MAE and RMSE, one row a label, one pair of columns a set of structures."""
    titles = [f"{name} ({m['structures']})" for name, m in metrics.items()]
    head = "".join(f"{title:>22}" for title in titles)
    lines = [f"{'':24}{head}", f"{'':24}" + "".join(f"{'MAE':>11}{'RMSE':>11}" for _ in metrics)]
    for label in LABELS:
        scale, unit = SCALES[label]
        cells = (m[f"{label}_{kind}"] for m in metrics.values() for kind in ("mae", "rmse"))
        row = "".join(f"{'-':>11}" if v is None else f"{scale * v:11.3f}" for v in cells)
        lines.append(f"{label + ' (' + unit + ')':24}{row}")
    return lines
