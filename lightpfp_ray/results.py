"""What a finished training leaves beside its potential: the active set of the grade, a self-check,
pictures, the report, the metrics.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .comparison import Comparison, compare
from .data.manifest import SKIPPED
from .errors import UserError
from .evaluation import Blocks, errors_of
from .files import write_atomically
from .grade import active_set
from .journal import records
from .output import OutputFolder
from .plots import loss_plot, parity_plot
from .potential import Potential, load
from .report import Errors, write_report
from .selfcheck import self_check

if TYPE_CHECKING:
    from .data.dataset import StructureSet
    from .data.manifest import Manifest

COMPARED = 1000
"""Structures of each set in the parity plot and in the report."""


def write_results(
    output: OutputFolder,
    manifest: Manifest,
    sets: Mapping[str, StructureSet],
    facts: Mapping[str, str],
    references: Mapping[str, Errors] | None = None,
) -> None:
    """Everything that is made of the finished potential; metrics.json is last, and by it the run is
    finished. `facts` are lines of the report, `references` errors of others on the test set.
    """
    found = load(output.potential)
    chosen = active_set(found.model, Blocks(sets["train"]))
    Potential(found.model, found.origin, chosen).save(output.potential)
    check = self_check(output.potential, sets["test"], end_of(output)["test"])
    compared = draw_pictures(output, sets)
    write_report(output, metrics_of(output, sets), compared, facts, references, check)
    if manifest.skipped:
        shutil.copyfile(manifest.path / SKIPPED, output.skipped)
    write_metrics(output, sets, check)


def references_of(folders: Sequence[str]) -> dict[str, Errors]:
    """Test errors of finished runs, by folder. Raises UserError where a folder holds none."""
    found = {}
    for folder in folders:
        try:
            found[folder] = json.loads(OutputFolder(Path(folder)).metrics.read_text())["test"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"--compare {folder}: expected the output folder of a finished training, with "
                "metrics.json"
            ) from None
    return found


def end_of(output: OutputFolder) -> dict[str, Any]:
    """The last record of a finished training: errors over both sets."""
    return next(r for r in reversed(records(output.journal)) if r["type"] == "end")


def draw_pictures(output: OutputFolder, sets: Mapping[str, StructureSet]) -> dict[str, Comparison]:
    """Parity of predictions and labels, and losses over epochs; what was compared."""
    model = load(output.potential).model
    compared = {split: compare(model, found, COMPARED) for split, found in sets.items()}
    parity_plot({split: found.pairs for split, found in compared.items()}, output.parity)
    loss_plot(records(output.journal), output.losses)
    return compared


def metrics_of(output: OutputFolder, sets: Mapping[str, StructureSet]) -> dict[str, Any]:
    """Errors by split, in eV/atom, eV/A, eV/A^3."""
    end = end_of(output)
    return {split: errors_of(end[split], len(found)) for split, found in sets.items()}


def write_metrics(
    output: OutputFolder, sets: Mapping[str, StructureSet], check: Mapping[str, Any] | None = None
) -> None:
    """Errors of the finished potential, and what the self-check found."""
    metrics = metrics_of(output, sets) | ({"self_check": check} if check else {})
    write_atomically(output.metrics, (json.dumps(metrics, indent=2) + "\n").encode())
