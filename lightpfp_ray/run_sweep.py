"""A sweep from beginning to end: check, prepare once, train all trials, measure, compare, record.

OUTPUT/sweep.json      the sweep, with everything that was left out
OUTPUT/trials/NAME     the output folder of each trial
OUTPUT/trials.csv, pareto.png
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import tracking
from .cluster.session import Resources, ray_session, resources, slots
from .data.read import expand_paths
from .errors import UserError
from .files import write_atomically
from .output import OutputFolder
from .preflight import label_notes, opened_sets, refuse_zoo
from .run import (
    Request,
    cache_of,
    facts_of,
    job_of,
    own_version,
    prepared,
    start_of,
    tell_slow,
    uri_of,
)
from .sweep import Sweep, Trial, TrialFolder
from .sweep.file import as_text
from .sweep.picture import pareto_plot
from .sweep.table import Row, best, front, lines, row_of, saved, title

if TYPE_CHECKING:
    from .cluster.trial import Tell
    from .config import ControlFile
    from .data.dataset import StructureSet
    from .data.manifest import Manifest

FLUSH_TIMEOUT_S = 60
"""How long the end of a sweep waits for MLflow."""


@dataclass(frozen=True)
class SweepFolder:
    """Paths of a sweep's files."""

    path: Path

    @property
    def sweep(self) -> Path:
        return self.path / "sweep.json"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def table(self) -> Path:
        return self.path / "trials.csv"

    @property
    def picture(self) -> Path:
        return self.path / "pareto.png"

    def refuse_others(self) -> None:
        """Raise UserError where the folder holds anything but a sweep."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, expected a folder for --output: name another")
        if self.path.exists() and any(self.path.iterdir()) and not self.sweep.exists():
            raise UserError(
                f"{self.path} holds files that are not a sweep's: give --output a new folder"
            )

    def begin(self, sweep: Sweep, fresh: bool) -> None:
        """Make the folder, without the trials of an earlier sweep where it is to be fresh."""
        if fresh:
            shutil.rmtree(self.trials, ignore_errors=True)
            for path in (self.table, self.picture, self.path / "tracking.json"):
                path.unlink(missing_ok=True)
        try:
            self.trials.mkdir(parents=True, exist_ok=True)
            write_atomically(self.sweep, as_text(sweep).encode())
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written ({error.strerror}): give --output another folder"
            ) from None


@dataclass
class Outcome:
    """The trials as they end, in the driver."""

    sweep: Sweep
    folder: SweepFolder
    recorder: tracking.SweepRecorder
    failures: dict[str, str] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)

    def begun(self, trial: Trial) -> None:
        self.trials.setdefault(trial.name, trial)
        self.recorder.follow(self.folder.trials / trial.name, trial.label)

    def ended(self, trial: Trial, failure: str) -> None:
        self.begun(trial)
        self.failures[trial.name] = failure
        row = self.row(trial)
        status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "open": "KILLED"}
        self.recorder.ended(self.folder.trials / trial.name, status[row.state])
        error = "-" if row.error is None else f"{1e3 * row.error:.4g}"
        said = f"{row.state}: {row.why}" if row.why else row.state
        click.echo(
            f"[{len(self.failures)}/{self.sweep.n_trials}] {trial.label}: "
            f"{title(self.sweep.options.objective)} {error}, {row.epochs} epochs, {said}"
        )

    def row(self, trial: Trial) -> Row:
        at = TrialFolder.at(self.folder.trials / trial.name)
        failure = self.failures.get(trial.name, "")
        return row_of(trial, at, failure, self.sweep.options.objective)

    def rows(self) -> list[Row]:
        return [self.row(trial) for trial in self.trials.values()]


def run_sweep(sweep: Sweep, request: Request, model_name: str | None = None) -> None:
    """Train the trials of a sweep and tell what came out. Raises UserError.

    `model_name`: under which the best potential is registered; default: the output folder's.
    """
    from .cluster.storage import refuse_unshared

    folder, output = (kind(request.output.resolve()) for kind in (SweepFolder, OutputFolder))
    for control in sweep.samples:
        refuse_zoo(control)
    uri = uri_of(request, output)
    expand_paths([*request.data, *request.test_data])
    folder.refuse_others()
    starts = _starts(sweep, request, output)
    with ray_session(request.address, request.verbose) as session:
        each, at_a_time = _room(sweep, request, session.local)
        for path in (folder.path, cache_of(request, output)):
            refuse_unshared(path)
        largest = max(cutoff(control, starts) for control in sweep.samples)
        manifest = prepared(sweep.samples[0], request, output, largest)
        sets = opened_sets(manifest)
        _refuse_other_runs(sweep, folder, manifest, request.fresh)
        for line in dict.fromkeys(_notes(sweep, sets)):
            click.echo(f"note: {line}")
        folder.begin(sweep, request.fresh)
        recording = tracking.Recording(
            uri, request.experiment, request.run_name or folder.path.name, _tags(sweep, manifest)
        )
        recorder = tracking.SweepRecorder(recording, folder.path, FLUSH_TIMEOUT_S)
        outcome = Outcome(sweep, folder, recorder)
        train = partial(train_trial, manifest.path, starts, each)
        _search(outcome, train, each, at_a_time)
    _conclude(outcome, manifest, sets, facts_of(each), model_name or folder.path.name)


def _room(sweep: Sweep, request: Request, local: bool) -> tuple[Resources, int]:
    """What a trial gets, and how many fit at a time."""
    each = resources(
        sweep.options.workers_per_trial,
        request.cpus_per_worker or 1,
        request.device,
        local,
        request.wait_for_nodes,
    )
    tell_slow(each)
    return each, slots(each)


def _starts(sweep: Sweep, request: Request, output: OutputFolder) -> dict[str, Path]:
    """The potentials that trials start from, by what the control files say."""
    controls = {control.starts_at: control for control in sweep.samples}
    found = {name: start_of(control, request, output) for name, control in controls.items()}
    return {name: path for name, path in found.items() if path}


def cutoff(control: ControlFile, starts: Mapping[str, Path]) -> float:
    """Of the potential that a trial starts from, or else of its control file."""
    from .potential import cutoff_of

    start = starts.get(control.starts_at)
    return cutoff_of(start) if start else control.mtp_config.rc


def _refuse_other_runs(sweep: Sweep, folder: SweepFolder, manifest: Manifest, fresh: bool) -> None:
    for trial in sweep.trials if not fresh else ():
        output = OutputFolder(folder.trials / trial.name)
        output.refuse_another_run(trial.control.resolved())
        output.refuse_other_data(manifest.as_dict())


def _notes(sweep: Sweep, sets: Mapping[str, StructureSet]) -> Iterable[str]:
    for control in sweep.samples:
        yield from control.notes
        yield from label_notes(control.stages, sets)


def _tags(sweep: Sweep, manifest: Manifest) -> dict[str, str]:
    return {
        "data": manifest.fingerprint,
        "lightpfp_ray": own_version(),
        "search": sweep.options.search,
        "objective": sweep.options.objective,
        "parameters": ", ".join(sweep.space),
    }


def _search(outcome: Outcome, train, each: Resources, at_a_time: int) -> None:
    from .cluster.trial import Study
    from .cluster.tune import search

    sweep = outcome.sweep
    click.echo(
        f"{sweep.n_trials} trials, {at_a_time} at a time, {each.workers} worker(s) of "
        f"{each.cpus_per_worker} CPU each, {each.device}"
    )
    study = Study(sweep, outcome.folder.trials, train, each)
    with outcome.recorder:
        search(study, at_a_time, outcome, outcome.folder.path / ".ray")
    shutil.rmtree(outcome.folder.path / ".ray", ignore_errors=True)


def train_trial(
    cache: Path,
    starts: Mapping[str, Path],
    each: Resources,
    trial: Trial,
    folder: TrialFolder,
    tell: Tell,
) -> None:
    """What the process of a trial does: all that a run does but for the pictures."""
    import torch

    from .cluster.trainer import train
    from .cluster.trial import TellingJournal, fit_and_tell
    from .data.manifest import Manifest
    from .journal import Journal
    from .results import write_metrics
    from .training.context import LocalContext

    output, control = folder.output, trial.control
    manifest = Manifest.load(cache)
    sets = opened_sets(manifest)
    start = starts.get(control.starts_at)
    job = job_of(control, manifest, sets["train"], output, start)
    folder.begin(trial, manifest.as_dict())
    if each.workers > 1 or each.device == "cuda":
        fit_and_tell(job, each, output.path / ".ray", tell)
        shutil.rmtree(output.path / ".ray", ignore_errors=True)
    else:
        torch.set_num_threads(each.cpus_per_worker)
        sets = _within(sets, manifest, cutoff(control, starts))
        train(job, sets, LocalContext(), TellingJournal(Journal(job.journal), tell))
    write_metrics(output, sets)


def _within(
    sets: Mapping[str, StructureSet], manifest: Manifest, cutoff: float
) -> dict[str, StructureSet]:
    """The sets with the edges of a trial's own cutoff."""
    from .data.within import within

    if cutoff == manifest.cutoff:
        return dict(sets)
    return {split: within(found, cutoff) for split, found in sets.items()}


def _conclude(
    outcome: Outcome,
    manifest: Manifest,
    sets: Mapping[str, StructureSet],
    facts: Mapping[str, str],
    model_name: str,
) -> None:
    """Measure the potentials where nothing else runs; table, picture, report, MLflow."""
    from .potential import cutoff_of
    from .results import write_results

    sweep, folder, objective = outcome.sweep, outcome.folder, outcome.sweep.options.objective
    for row in outcome.rows():
        if row.finished:
            _measure(TrialFolder.at(folder.trials / row.trial.name), sets, sweep)
    rows = outcome.rows()
    saved(rows, objective, folder.table)
    pareto_plot(rows, objective, folder.picture)
    click.echo("\n" + "\n".join(lines(rows, objective)) + "\n")
    winner = best(rows)
    if winner is None:
        raise UserError("no trial finished: the table says why")
    output = OutputFolder(folder.trials / winner.trial.name)
    if not output.report.exists():
        own = _within(sets, manifest, cutoff_of(output.potential))
        write_results(output, manifest, own, facts)
    click.echo(f"best:       {winner.trial.label}: {output.potential}")
    click.echo(f"report:     {output.report}")
    click.echo(f"picture:    {folder.picture}, table: {folder.table}")
    worth = {row.trial.name for row in [*front(rows), winner]}
    found = outcome.recorder.conclude(
        worth=[folder.trials / name for name in sorted(worth)],
        best=output.path,
        model_name=model_name,
        files=[folder.sweep, folder.table, folder.picture],
        metrics={f"best/{objective}": winner.error, "trials": len(rows)},
    )
    click.echo("\n".join(found))


def _measure(folder: TrialFolder, sets: Mapping[str, StructureSet], sweep: Sweep) -> None:
    """Sizes and speed of a finished potential, once."""
    from .potential import load
    from .speed import us_per_atom

    if folder.sizes():
        return
    model = load(folder.output.potential).model
    sizes = {
        "basis_functions": float(len(model.basis.scalars)),
        "parameters": float(sum(p.numel() for p in model.parameters())),
    }
    if sweep.options.second_objective:
        sizes["us_per_atom"] = us_per_atom(model, sets["test"])
    folder.note_sizes(sizes)
