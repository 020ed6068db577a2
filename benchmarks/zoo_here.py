"""The training of a pretrained model in one process, without Ray and MLflow: the same loop over the
same structures, which goes on from its checkpoints.
"""

from __future__ import annotations

import json
import time
from dataclasses import fields
from pathlib import Path

import torch
from accuracy import written

from lightpfp_ray.config import ControlFile
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.filter import skip_reason
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.files import write_atomically
from lightpfp_ray.journal import Journal
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import RadialShape
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.potential import HEAD, Potential
from lightpfp_ray.run import own_version
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loop import Loop
from lightpfp_ray.training.options import Options
from lightpfp_ray.training.plan import Plan
from lightpfp_ray.training.start import new_model

SPLITS = ("train", "test")

CPU_S = "cpu_s"
"""File of the CPU seconds, of the last start if there were several."""


def train_here(control: ControlFile, folder: Path, output: OutputFolder, cache: Path) -> None:
    """Train on `folder`/train; the potential is the output's."""
    if (output.potential / HEAD).exists():
        return
    began = time.process_time()
    torch.set_num_threads(1)
    output.path.mkdir(parents=True, exist_ok=True)
    write_atomically(output.control, json.dumps(control.resolved(), indent=2).encode())
    mtp, ours, context = control.mtp_config, control.lightpfp_ray, LocalContext()
    max_forces = control.common_config.max_forces
    sets = _prepared(folder, cache / f"{folder.name}-{mtp.rc:g}-{max_forces:g}", mtp.rc, max_forces)
    model = new_model(
        tuple(sets["train"].numbers_present),
        make_basis(
            Levels(mtp.levmax, mtp.moment_init_cost, mtp.moment_mu_cost, mtp.moment_nu_cost)
        ),
        RadialShape(mtp.rc, 0.99 * sets["train"].min_distance, mtp.n_q),
        mtp.nn_dim_list,
        sets["train"],
        context,
        ours.seed,
    )
    plan = Plan(
        control.stages,
        control.common_config.batch_size,
        ours.seed,
        control.fingerprint(),
        output.checkpoints,
        ours.checkpoint_interval_s,
        Options(**{f.name: getattr(ours, f.name) for f in fields(Options)}),
    )
    model = model.to(getattr(torch, ours.precision))
    found = Loop(plan, model, sets, context, Journal(output.journal)).run()
    origin = {"lightpfp_ray": own_version(), "control": control.resolved()}
    Potential(found, origin).save(output.potential)
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
