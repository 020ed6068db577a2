"""`lightpfp-ray grade`: how far structures lie outside of what a potential was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UserError
from .options import ManyValues, data, numbers_of, species

if TYPE_CHECKING:
    from ..batch import Batch
    from ..grade import ActiveSet
    from ..mtp.model import MTP
    from ..potential import Potential

SHOWN = 10
"""Structures that are named."""


@dataclass(frozen=True)
class Graded:
    """One structure: its largest grade and the atom that has it, and the grade of its mean."""

    source: str
    grade: float
    atom: int
    structure_grade: float


@dataclass(frozen=True)
class Files:
    """Batches of files, read anew each time."""

    arguments: tuple[str, ...]
    model: MTP

    def __iter__(self) -> Iterator[Batch]:
        from ..evaluation import batches_of_files

        return batches_of_files(self.arguments, self.model, labelled=False)


@click.command(cls=ManyValues)
@click.argument("potential")
@data
@click.option(
    "--training-data",
    multiple=True,
    metavar="PATH...",
    help="Compute the active set from these, and keep it in the potential's folder.",
)
@species
@click.option("--json", "as_json", is_flag=True, help="All structures, as JSON.")
def grade(
    potential: str,
    data: tuple[str, ...],
    training_data: tuple[str, ...],
    species: str | None,
    as_json: bool,
) -> None:
    """Extrapolation grade of structures: at most 1 inside of the training set, above 2 worth a
    label, above 10 not to be trusted.

    \b
    lightpfp-ray grade run/ --data md.traj
    lightpfp-ray grade Si.mtp --training-data train.extxyz --data md.traj
    """
    from ..potential import load

    loaded = load(potential, numbers_of(species))
    active = _active_set(loaded, Path(potential), training_data)
    graded = list(_graded(loaded.model, active, data))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in graded], indent=1))
    else:
        click.echo("\n".join(_summary(graded)))


def _active_set(potential: Potential, path: Path, training_data: tuple[str, ...]) -> ActiveSet:
    from ..grade import active_set
    from ..potential import folder_of

    if training_data:
        found = active_set(potential.model, Files(training_data, potential.model))
        if path.is_dir():
            found.save(folder_of(path))
        return found
    if potential.active_set is None:
        raise UserError(
            f"{path} has no active set: name the structures that it was trained on with "
            "--training-data"
        )
    return potential.active_set


def _graded(model: MTP, active: ActiveSet, data: tuple[str, ...]) -> Iterator[Graded]:
    import numpy as np

    from ..data.collate import batch_from_structures
    from ..evaluation import structures_of_files

    for block in structures_of_files(data, model, labelled=False):
        batch = batch_from_structures(block, model.cutoff)
        grades_A, whole_S = active.grades(model, batch), active.structure_grades(model, batch)
        of_structures = np.split(grades_A, np.cumsum([len(s.numbers) for s in block])[:-1])
        for structure, grades, whole in zip(block, of_structures, whole_S, strict=True):
            atom = int(grades.argmax())
            yield Graded(structure.source, float(grades[atom]), atom, float(whole))


def _summary(graded: list[Graded]) -> Iterator[str]:
    import numpy as np

    from ..grade import DANGEROUS, WORTH_A_LABEL

    grades = np.array([each.grade for each in graded])
    middle, high = np.quantile(grades, [0.5, 0.9])
    yield f"{len(graded)} structures, grade of the worst atom of each:"
    yield f"median {middle:.3g}, nine of ten below {high:.3g}, largest {grades.max():.3g}"
    for limit in (WORTH_A_LABEL, DANGEROUS):
        yield f"above {limit:g}: {(grades > limit).sum()} structures"
    yield f"{'grade':>9}{'of the mean':>13}{'atom':>6}  structure"
    for each in sorted(graded, key=lambda g: -g.grade)[:SHOWN]:
        yield f"{each.grade:9.3g}{each.structure_grade:13.3g}{each.atom:6d}  {each.source}"
