"""How long a training will take: the training itself, short and on a part of its structures, and
what follows from that for all of it.

A probe runs all stages with a few epochs each, on some batches; a second one has about a quarter of
the structures, in batches of a quarter. From the two follow what a step costs whatever its size,
and what an edge costs, in every stage; the same for the search for a start, by iterations and
structures; and for what lies between the stages and at the end.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from .data.dataset import StructureSet
from .journal import Journal, records
from .output import OutputFolder
from .scaling import Costs, Network, epoch_s, largest_shares
from .training.batches import SAMPLE, n_batches, permutation
from .training.search import ROUNDS, Round
from .training.varpro import MEASURED_FOR, WHILE

if TYPE_CHECKING:
    from .cluster.trainer import Job
    from .config import ControlFile, Stage
    from .data.manifest import Manifest

BATCHES = 4
"""Of the larger probe."""

LEAST = 64
"""Structures of the smaller probe: the search for a start looks at fewer, and at no more."""

EPOCHS, MOST_EPOCHS = 4, 40
"""Of each stage of a probe; the mean of all but the first counts."""

AT_LEAST_S = 1.0
"""So long the larger probe is in the epochs of each stage, within these limits."""

STARTS, SHORT = 2, tuple(replace(each, iterations=3) for each in ROUNDS)
"""Of the search for a start in a probe."""

SMALLER = 4
"""The second probe is smaller by this factor."""

Sets = Mapping[str, StructureSet]


@dataclass(frozen=True)
class Probe:
    """A short training. Edges are those of training set and test set; times in s."""

    batch_size: int
    n_structures: int
    n_steps: int  # of an epoch
    n_edges: int
    epoch_s: Mapping[str, float]  # by stage
    search_s: float
    between_s: float  # all else from the first parameters to the errors of the finished potential
    results_s: float  # the report and what else is made of it


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a training. Times in s, of one worker where nothing is said."""

    stages: tuple[Stage, ...]
    costs: Mapping[str, Costs]  # by stage
    search_s: float
    between: Costs  # of a training, by structures
    results: Costs  # the report and the rest, by structures
    train: StructureSet
    n_edges: int  # of both sets
    batch_size: int
    n_parameters: int
    n_basis: int
    us_per_atom: float  # a step of MD on one core
    peak_bytes: int
    network: Network = field(default_factory=Network)

    @property
    def n_steps(self) -> int:
        return n_batches(len(self.train), self.batch_size)

    def epoch_s(self, stage: str, n_workers: int = 1) -> float:
        shares = self._largest_shares(n_workers)
        return epoch_s(
            self.costs[stage], self.network, self.n_steps, shares, n_workers, self.n_parameters
        )

    def total_s(self, n_workers: int = 1, stages: Sequence[Stage] | None = None) -> float:
        """Of all stages, and what lies between them and at their end. Of a control file's `stages`
        those count that the training has.
        """
        stages = self.stages if stages is None else stages
        epochs = sum(
            stage.epochs * self.epoch_s(stage.name, n_workers)
            for stage in stages
            if stage.name in self.costs
        )
        between = self.between.epoch_s(1, min(len(self.train), SAMPLE))
        return epochs + (self.search_s + between) / n_workers

    @property
    def shortest(self) -> tuple[Stage, ...]:
        """The stages, where those that may end by themselves do so as early as they can."""
        return tuple(
            replace(stage, epochs=min(stage.epochs, WHILE + 1)) if stage.ends_by_itself else stage
            for stage in self.stages
        )

    @property
    def results_s(self) -> float:
        """Report, self-check, active set: made by the driver when the training has ended."""
        return self.results.epoch_s(1, len(self.train))

    def _largest_shares(self, n_workers: int) -> float:
        """Edges that the slowest worker has in an epoch, its part of the test set among them."""
        edges = self.train.counts.n_edges
        order = permutation(len(self.train), 0, 1)
        some = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        few = some[:: max(1, len(some) // 20)]
        mean = sum(float(edges[batch].sum()) for batch in few) / n_workers
        imbalance = largest_shares(few, edges, n_workers) / mean if mean else 1.0
        return self.n_edges / n_workers * imbalance

    def us_per_atom_and_step(self, stage: str) -> float:
        """Of training: an epoch by the atoms of the training set."""
        return 1e6 * self.epoch_s(stage) / int(self.train.counts.n_atoms.sum())


def forecast(job: Job, manifest: Manifest, sets: Sets) -> Forecast:
    """Measure a training on this machine, with as many threads as torch has."""
    from .potential import load
    from .speed import us_per_atom

    size, batch_size = len(sets["train"]), job.plan.batch_size
    large = min(size, max(BATCHES * batch_size, SMALLER * LEAST))
    small = max(1, min(large, LEAST), large // SMALLER)
    smaller_batch = max(1, batch_size // SMALLER)
    with tempfile.TemporaryDirectory() as scratch:

        def run(name: str, n: int, batch: int, epochs: int, starts: int = STARTS) -> Probe:
            return probe(job, manifest, sets, n, batch, epochs, starts, Path(scratch) / name)

        run("first", small, smaller_batch, 1, 1)  # loads what is loaded but once
        probes = [run("small", small, smaller_batch, EPOCHS)]
        epoch_s = min(probes[0].epoch_s.values()) * large / small
        epochs = int(np.clip(AT_LEAST_S / epoch_s, EPOCHS, MOST_EPOCHS))
        probes.append(run("large", large, batch_size, epochs))
        model = load(Path(scratch) / "large" / "potential").model
        speed = us_per_atom(model, sets["test"] if len(sets["test"]) else sets["train"])
    counts = [p.n_structures for p in probes]
    return Forecast(
        stages=job.plan.stages,
        costs={
            stage.name: Costs.fitted(
                [p.n_steps for p in probes],
                [p.n_edges for p in probes],
                [p.epoch_s[stage.name] for p in probes],
            )
            for stage in job.plan.stages
            if stage.epochs
        },
        search_s=search_s(
            job.plan.options.starts,
            size,
            counts,
            [p.search_s for p in probes],
            known=int(bool(job.start) and not model.widths),
        ),
        between=Costs.fitted([1, 1], counts, [p.between_s for p in probes]),
        results=Costs.fitted([1, 1], counts, [p.results_s for p in probes]),
        train=sets["train"],
        n_edges=sum(int(found.counts.n_edges.sum()) for found in sets.values()),
        batch_size=batch_size,
        n_parameters=sum(p.numel() for p in model.parameters()),
        n_basis=len(model.basis.scalars),
        us_per_atom=speed,
        peak_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def search_s(
    starts: int, size: int, counts: Sequence[int], seconds: Sequence[float], known: int = 0
) -> float:
    """Of a search over `starts` in a set of `size`, by those of the probes in sets of `counts`;
    `known`: starts that come on top.
    """
    if starts == 1:
        return 0.0
    probed = [search_work(min(starts, STARTS) + known, n, SHORT) for n in counts]
    costs = Costs.fitted(*zip(*probed, strict=True), seconds)
    return costs.epoch_s(*search_work(starts + known, size, ROUNDS))


def search_work(starts: int, size: int, rounds: Sequence[Round]) -> tuple[int, int]:
    """Evaluations of a search, one for each iteration and one before, and their structures."""
    evaluations = [min(each.best, starts) * (each.iterations + 1) for each in rounds]
    seen = sum(n * min(each.structures, size) for n, each in zip(evaluations, rounds, strict=True))
    return sum(evaluations), seen


def probe(
    job: Job,
    manifest: Manifest,
    sets: Sets,
    n_train: int,
    batch_size: int,
    epochs: int,
    starts: int,
    folder: Path,
) -> Probe:
    """Train a little, on `n_train` structures of the training set and as large a part of the test
    set, with at most so many epochs a stage and starts.
    """
    from .cluster.trainer import train
    from .results import write_results
    from .training.context import LocalContext

    part = n_train / len(sets["train"])
    some = {split: _spread(found, part) for split, found in sets.items()}
    output = OutputFolder(folder)
    output.begin(dict(job.origin["control"]), manifest.as_dict())
    options = job.plan.options
    plan = replace(
        job.plan,
        stages=tuple(replace(s, epochs=min(s.epochs, epochs)) for s in job.plan.stages),
        batch_size=batch_size,
        folder=output.checkpoints,
        checkpoint_interval_s=1e9,
        options=replace(options, starts=min(starts, options.starts)),
        rounds=SHORT,
    )
    short = replace(job, plan=plan, journal=output.journal, potential=output.potential)
    began = time.monotonic()
    train(short, some, LocalContext(), Journal(output.journal))
    trained = time.monotonic()
    write_results(output, manifest, some, {})
    projected = {stage.name for stage in plan.stages if stage.optimizer == "varpro"}
    spent = (trained - began, time.monotonic() - trained)
    return _measured(batch_size, some, projected, records(output.journal), *spent)


def _measured(
    batch_size: int,
    some: Sets,
    projected: Set[str],
    written: list[dict],
    training_s: float,
    results_s: float,
) -> Probe:
    """A probe by the journal it left; `projected` are the stages of variable projection."""
    searched = [r["seconds"] for r in written if r["type"] == "search"]
    of_stage: dict[str, list[float]] = {}
    for record in written:
        if record["type"] == "epoch":
            of_stage.setdefault(record["stage"], []).append(record["seconds"])
    return Probe(
        batch_size=batch_size,
        n_structures=len(some["train"]),
        n_steps=n_batches(len(some["train"]), batch_size),
        n_edges=sum(int(found.counts.n_edges.sum()) for found in some.values()),
        epoch_s={name: _epoch_s(found, name in projected) for name, found in of_stage.items()},
        search_s=sum(searched),
        between_s=training_s - sum(searched) - sum(map(sum, of_stage.values())),
        results_s=results_s,
    )


def _epoch_s(seconds: Sequence[float], projected: bool) -> float:
    """The first epoch loads what is loaded but once, or finds coordinates for the next ones."""
    first, others = seconds[0], mean(seconds[1:] or seconds)
    return others + max(0.0, first - others) / MEASURED_FOR if projected else others


def _spread(structures: StructureSet, part: float) -> StructureSet:
    """A part of a set, evenly spread over it."""
    n = min(len(structures), round(part * len(structures)) or 1)
    return structures.subset(np.linspace(0, len(structures) - 1, n).round().astype(int))


def fitting_epochs(found: Forecast, control: ControlFile, budget_s: float, n_workers: int) -> int:
    """The largest total_epoch whose training takes at most `budget_s`; at least 1."""

    def seconds(total: int) -> float:
        return found.total_s(n_workers, control.with_total_epoch(total).stages)

    low, high = 1, 2
    while seconds(high) <= budget_s and high < 2**30:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) <= budget_s else (low, middle)
    return low
