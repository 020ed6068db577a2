"""Small sets and plans for the tests of the training."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from lightpfp_ray.batch import Batch
from lightpfp_ray.config import stages
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import RadialShape
from lightpfp_ray.training.batches import WeightedSet
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loop import Loop
from lightpfp_ray.training.options import Options
from lightpfp_ray.training.plan import Plan
from lightpfp_ray.training.start import new_model

from .data_samples import labelled, metals, oddities

CUTOFF = 4.0


@dataclass(frozen=True)
class InMemory:
    """Structures as the training sees them, collated anew at each draw."""

    structures: list

    def __len__(self):
        return len(self.structures)

    @property
    def counts(self):
        return self

    def _of_each(self, value):
        return np.array([value(s) for s in self.structures])

    @property
    def n_atoms(self):
        return self._of_each(lambda s: len(s.numbers))

    @property
    def has_energy(self):
        return self._of_each(lambda s: s.energy is not None)

    @property
    def has_forces(self):
        return self._of_each(lambda s: s.forces is not None)

    @property
    def has_stress(self):
        return self._of_each(lambda s: s.stress is not None)

    @property
    def weight(self):
        return self._of_each(lambda s: s.weight)

    @property
    def group_names(self):
        return sorted({s.group for s in self.structures})

    @property
    def group(self):
        names = self.group_names
        return self._of_each(lambda s: names.index(s.group)).astype(np.int64)

    def batch(self, indices) -> Batch:
        return batch_from_structures([self.structures[i] for i in indices], CUTOFF)


def partly_labelled():
    """Three structures: all labels; no stress and no energy; no forces."""
    whole, second, third = metals(3, seed=3)
    return [
        structure_of(whole),
        structure_of(labelled(second, forces=second.get_forces())),
        structure_of(labelled(third, energy=third.get_potential_energy(), stress=np.ones(6))),
    ]


def sets(n_train=7, n_test=3):
    """Metals with one oddity, some labels absent."""
    train = metals(n_train - 1) + oddities()[2:3]
    return {
        "train": InMemory([structure_of(atoms) for atoms in train]),
        "test": InMemory([structure_of(atoms) for atoms in metals(n_test, seed=1)]),
    }


@dataclass(frozen=True)
class Stage(stages.Stage):
    """One of a control file that says little."""

    loss: str = "mse"
    scheduler: str = "linear_warmup"
    scheduler_step_size: int = 1


STAGES = (
    Stage("stage_1", 3, 0.1, 1e-5, 10.0, 1e-5),
    Stage("stage_2", 4, 0.01, 1.0, 0.1, 10.0, loss="l1"),
    Stage("calibration", 3, 0.01, None, None, None),
)


def committee(n, stages=STAGES):
    """The stages of n members, one after the other."""
    return tuple(replace(stage, member=member) for member in range(n) for stage in stages)


def plan(folder, stages=STAGES, batch_size=3, interval=1e9, seed=0, **options):
    options = Options(**{"starts": 2} | options)
    return Plan(stages, batch_size, seed, "fingerprint", folder, interval, options)


class ListJournal:
    """Records in memory."""

    def __init__(self):
        self.records = []

    def append(self, record):
        self.records.append(record)

    def position(self):
        return len(self.records)

    def truncate(self, position):
        del self.records[position:]


def model_of(structures, context=None, widths=(), seed=0):
    return new_model(
        (13, 28, 29),
        make_basis(Levels(8)),
        RadialShape(CUTOFF, 1.8, 5),
        widths,
        structures,
        context or LocalContext(),
        seed,
    )


def trained(
    folder,
    structures,
    journal=None,
    context=None,
    widths=(),
    dtype=torch.float64,
    seed=0,
    start=None,
    **changes,
):
    """The potential after all stages; `start` makes one to begin at, of training structures."""
    if start:
        model = start(structures["train"])
    else:
        model = model_of(structures["train"], context, widths, seed).to(dtype)
    journal = journal or ListJournal()
    loop = Loop(
        plan(folder, seed=seed, **changes), model, structures, context or LocalContext(), journal
    )
    return loop.run()


COEFFICIENTS = {"energy": 1.0, "forces": 0.1, "stress": 10.0}
ALONE = LocalContext()


def some(n_train=9):
    return WeightedSet.of(sets(n_train)["train"], {})


def moved(widths=()):
    """A potential whose parameters are all at work."""
    model = model_of(some().structures, widths=widths)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def noise(structures):
    """A potential with a network that no structure was asked for."""
    model = model_of(structures, widths=(4,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return model


def parameters(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])
