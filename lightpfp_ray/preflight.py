"""What is looked at before a training begins: what it asks for against what the structures have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import chemical_symbols

from .data.dataset import StructureSet
from .data.filter import BAD_LABEL, BAD_POSITION, BAD_WEIGHT, UNKNOWN_ELEMENT
from .data.schema import LABELS, SPLITS
from .errors import UserError
from .zoo import models

if TYPE_CHECKING:
    from .config import ControlFile, Stage
    from .data.manifest import Manifest

BAD = (BAD_LABEL, BAD_WEIGHT, BAD_POSITION, UNKNOWN_ELEMENT)
"""Reasons to skip a structure that are more likely a mistake than a choice."""


def refuse_zoo(control: ControlFile) -> None:
    """Raise UserError for a pretrained model that is not here."""
    name = "" if control.common_config.reload_model else control.pretrained
    if name in models.NAMES:
        models.files_of(name)
    elif name and not Path(name).exists():
        raise UserError(
            f"mtp_config.pretrained_model: found {name}, which is not there: expected a "
            "potential's folder, a .mtp file or the name of a pretrained model: correct it"
        )


def refuse_bad(manifest: Manifest) -> None:
    """Raise UserError where structures were skipped for what is more likely a mistake."""
    bad = [(source, why) for source, why in manifest.skipped_examples if why in BAD]
    if not bad:
        return
    source, why = bad[0]
    n = sum(manifest.skipped[reason] for reason in BAD if reason in manifest.skipped)
    raise UserError(
        f"{source}: {why} ({n} such structures): correct them, or leave them out with --skip-bad"
    )


def opened_sets(manifest: Manifest) -> dict[str, StructureSet]:
    """Both sets. Raises UserError where the test set holds an element that the other lacks."""
    sets = {split: StructureSet.open(manifest.path, split) for split in SPLITS}
    missing = set(sets["test"].numbers_present) - set(sets["train"].numbers_present)
    if missing:
        names = ", ".join(chemical_symbols[z] for z in sorted(missing))
        raise UserError(
            f"the test set holds {names}, the training set does not: add training structures of "
            "it, or another lightpfp_ray.seed"
        )
    return sets


def label_notes(stages: Sequence[Stage], sets: Mapping[str, StructureSet]) -> Iterator[str]:
    """Which stages count labels that some structures lack. Raises UserError where all lack them."""
    train = sets["train"]
    for label in LABELS:
        wanted = {
            stage.name: getattr(stage, f"{label}_coeff")
            for stage in stages
            if getattr(stage, f"{label}_coeff")
        }
        lacking = (~getattr(train.counts, f"has_{label}")).nonzero()[0]
        if not wanted or not len(lacking):
            continue
        named = ", ".join(f"{name} {value:g}" for name, value in wanted.items())
        if len(lacking) < len(train):
            yield (
                f"{len(lacking)} of {len(train)} training structures have no {label} (as "
                f"{train.source(int(lacking[0]))}) and do not count in its loss ({named})"
            )
        elif label == "stress":
            yield f"no training structure has stress: its loss is not counted ({named})"
        else:
            raise UserError(
                f"no training structure has {label}, but its coefficients are {named}: set "
                f"{label}_loss_coeff_list to zeros, or provide the label"
            )
