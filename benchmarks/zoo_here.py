"""The training of a pretrained model in one process, without Ray and MLflow: the same loop over the
same structures, which goes on from its checkpoints.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from here import train_here, written

from lightpfp_ray.config import ControlFile
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.filter import skip_reason
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.files import write_atomically
from lightpfp_ray.journal import Journal
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.potential import HEAD

SPLITS = ("train", "test")

CPU_S = "cpu_s"
"""File of the CPU seconds, of the last start if there were several."""


def train_alone(control: ControlFile, folder: Path, output: OutputFolder, cache: Path) -> None:
    """Train on `folder`/train; the potential is the output's."""
    if (output.potential / HEAD).exists():
        return
    began = time.process_time()
    torch.set_num_threads(1)
    output.path.mkdir(parents=True, exist_ok=True)
    write_atomically(output.control, json.dumps(control.resolved(), indent=2).encode())
    rc, max_forces = control.mtp_config.rc, control.common_config.max_forces
    sets = _prepared(folder, cache / f"{folder.name}-{rc:g}-{max_forces:g}", rc, max_forces)
    train_here(control, sets, output.path, Journal(output.journal))
    write_atomically(output.path / CPU_S, str(time.process_time() - began).encode())


def _prepared(
    folder: Path, cache: Path, cutoff: float, max_forces: float
) -> dict[str, StructureSet]:
    """Both sets with their edges, made once."""
    if not (cache / "done").exists():
        cache.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            kept = [
                structure
                for file in sorted((folder / split).glob("*.extxyz"))
                for structure in read_structures(file)
                if skip_reason(structure, float("inf"), max_forces) is None
            ]
            written(cache, split, kept, cutoff)
        (cache / "done").touch()
    return {split: StructureSet.open(cache, split) for split in SPLITS}
