"""A training in this process, without Ray's workers and MLflow: the job and the loop of
`lightpfp-ray train`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightpfp_ray.cluster.trainer import train
from lightpfp_ray.config import ControlFile
from lightpfp_ray.data import flat
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.manifest import Manifest
from lightpfp_ray.data.neighbors import search
from lightpfp_ray.data.parts import write_part
from lightpfp_ray.data.schema import content_hash
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.potential import cutoff_of
from lightpfp_ray.run import job_of
from lightpfp_ray.training.context import LocalContext


def train_here(control: ControlFile, sets: Mapping[str, StructureSet], folder: Path, journal):
    """Train on the sets, "train" and "test"; checkpoints and the potential are in `folder` as in
    an output folder, and a training that was stopped goes on.
    """
    kept = {split: len(found) for split, found in sets.items()}
    manifest = Manifest(folder, "", {}, cutoff(control), {}, kept, n_atoms={}, missing={})
    job = job_of(control, manifest, sets["train"], OutputFolder(folder), control.starts_at)
    train(job, sets, LocalContext(), journal)


def cutoff(control: ControlFile) -> float:
    """A: that of the pretrained model where there is one."""
    return cutoff_of(control.starts_at) if control.starts_at else control.mtp_config.rc


def written(
    folder: Path, split: str, structures: Sequence[Structure], cutoff: float
) -> StructureSet:
    """Structures on disk with their edges, as the training maps them."""
    found = [search(s.positions, s.cell, s.pbc, cutoff) for s in structures]
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as beside:
        part = write_part(Path(beside) / split, map(content_hash, structures), structures, found)
        flat.join(folder / split, [part])
    return StructureSet.open(folder, split)
