"""A training from beginning to end: check, prepare, train, evaluate, record.

Everything that can be refused is refused before the output folder is touched.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click
from ase.data import covalent_radii

from . import tracking
from .budget import chosen_before, fitted, seconds_of
from .cluster.session import Resources, Session, ray_session, resources
from .config import ControlFile, epochs_said
from .config.stages import POLISH
from .data.filter import Limits
from .data.keys import Keys
from .data.read import expand_paths
from .doctor.kept import kept_brief
from .evaluation import table
from .output import OutputFolder
from .preflight import label_notes, opened_sets, refuse_bad, refuse_zoo
from .progress import Progress
from .results import references_of, write_results
from .zoo import models

if TYPE_CHECKING:
    from .cluster.trainer import Job
    from .data.dataset import StructureSet
    from .data.manifest import Manifest

FLUSH_TIMEOUT_S = 30
"""How long the end of a run waits for MLflow."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for beside the control file."""

    data: tuple[str, ...]
    test_data: tuple[str, ...]
    output: Path
    workers: int = 1
    cpus_per_worker: int | None = None
    device: str = "auto"
    fresh: bool = False
    resume_anyway: bool = False
    compare: tuple[str, ...] = ()
    skip_bad: bool = False
    key: tuple[str, ...] = ()
    wait_for_nodes: float = 0.0
    tracking_uri: str | None = None
    experiment: str = "lightpfp_ray"
    run_name: str | None = None
    cache: Path | None = None
    address: str | None = None
    verbose: bool = False
    time_budget: str | None = None


def run(control: ControlFile, request: Request, began: float | None = None) -> None:
    """Train as the control file says and tell how it went. Raises UserError.

    `began`: when the command did, by `time.monotonic()`, for its time budget; default: now.
    """
    began = time.monotonic() if began is None else began
    output = OutputFolder(request.output.resolve())
    budget_s = seconds_of(request.time_budget) if request.time_budget else None
    earlier = None if request.fresh or not budget_s else chosen_before(control, output)
    control = earlier or control
    for note in control.notes:
        click.echo(f"note: {note}")
    references = references_of(request.compare)
    start = _start_if_possible(control, request, output)
    with ray_session(request.address, request.verbose) as session:
        asked = _room(request, session, output)
        manifest, sets = _structures(control, request, output, start)
        job = job_of(control, manifest, sets["train"], output, start)
        if budget_s and not earlier:
            control = fitted(control, job, manifest, sets, asked, budget_s, began)
            job = job_of(control, manifest, sets["train"], output, start)
        if request.fresh:
            output.remove_run()
        if not output.is_finished:
            output.begin(control.resolved(), manifest.as_dict())
            total = sum(stage.epochs for stage in job.plan.stages)
            on = f"on {asked.workers} worker(s) of {asked.each()}"
            click.echo(f"training {epochs_said(job.plan.stages)} {on}")
            with _recorded(control, request, output, manifest):
                _fit(job, asked, session, output, total)
                write_results(output, manifest, sets, facts_of(asked), references)
    _tell(output)


def _start_if_possible(control: ControlFile, request: Request, output: OutputFolder) -> Path | None:
    """The potential to start from; whatever can be refused without Ray is refused here."""
    refuse_zoo(control)
    uri_of(request, output)
    expand_paths([*request.data, *request.test_data])
    if not (request.fresh or request.resume_anyway):
        output.refuse_another_run(control.resolved())
    return start_of(control, request, output)


def _room(request: Request, session: Session, output: OutputFolder) -> Resources:
    """What the cluster gives, once each of its nodes sees the folders."""
    from .cluster.storage import refuse_unshared

    asked = resources(
        request.workers,
        request.cpus_per_worker,
        request.device,
        session.local,
        request.wait_for_nodes,
    )
    tell_slow(asked)
    for folder in (output.path, cache_of(request, output)):
        refuse_unshared(folder)
    return asked


def tell_slow(asked: Resources) -> None:
    """A note where a CPU is to train without the compiled engine."""
    from .mtp.engine import missing

    if asked.device == "cpu" and (line := missing()):
        click.echo(f"note: {line}")


def _structures(
    control: ControlFile, request: Request, output: OutputFolder, start: Path | None
) -> tuple[Manifest, dict[str, StructureSet]]:
    """Both sets, and what is to be said of them."""
    from .potential import cutoff_of, load_for

    manifest = prepared(control, request, output, cutoff_of(start) if start else None)
    sets = opened_sets(manifest)
    if start:
        load_for(start, sets["train"].numbers_present)  # what does not fit is refused here
    if not (request.fresh or request.resume_anyway):
        output.refuse_other_data(manifest.as_dict())
    for line in label_notes(control.stages, sets):
        click.echo(f"note: {line}")
    for finding in kept_brief(manifest, sets["train"]):
        click.echo(f"doctor, {finding.level}: {finding.line()}")
    return manifest, sets


def start_of(control: ControlFile, request: Request, output: OutputFolder) -> Path | None:
    """The folder of the potential that reload_model or else pretrained_model names."""
    reference = control.starts_at
    if not reference:
        return None
    click.echo(f"note: cutoff, basis and readout are those of {reference}, not of mtp_config")
    if reference in models.NAMES:
        return _unpacked(reference, cache_of(request, output) / "zoo")
    if Path(reference).exists():
        return Path(reference).resolve()
    return tracking.fetch_potential(reference, uri_of(request, output), cache_of(request, output))


def _unpacked(name: str, folder: Path) -> Path:
    """A pretrained model as a folder that each node sees."""
    from .potential import HEAD, load

    copy = folder / f"{name}-{models.version_of(name)}"
    if not (copy / HEAD).exists():
        load(name).save(copy)
    return copy.resolve()


def cache_of(request: Request, output: OutputFolder) -> Path:
    return request.cache or output.path.parent / ".lightpfp_cache"


def uri_of(request: Request, output: OutputFolder) -> str:
    return tracking.checked_uri(request.tracking_uri or tracking.default_uri(output.path))


def prepared(
    control: ControlFile, request: Request, output: OutputFolder, cutoff: float | None = None
) -> Manifest:
    """Structures with the edges of a cutoff in A; None: that of the control file."""
    from .cluster.dataset import prepare

    ours = control.lightpfp_ray
    manifest = prepare(
        request.data,
        request.test_data,
        cutoff=cutoff or control.mtp_config.rc,
        max_energy=control.common_config.max_energy,
        max_forces=control.common_config.max_forces,
        seed=ours.seed,
        test_fraction=ours.test_fraction,
        cache_root=cache_of(request, output),
        limits=Limits(ours.max_volume_per_atom, ours.min_distance, ours.max_stress),
        keys=Keys.of(request.key),
    )
    if not request.skip_bad:
        refuse_bad(manifest)
    for line in manifest.lines():
        click.echo(line)
    return manifest


def job_of(
    control: ControlFile,
    manifest: Manifest,
    train: StructureSet,
    output: OutputFolder,
    start: Path | None,
) -> Job:
    from .cluster.trainer import Job
    from .mtp.levels import Levels
    from .mtp.model import RadialShape
    from .potential import widths_of
    from .training.options import Options, refuse_contradiction
    from .training.plan import Plan

    mtp, ours = control.mtp_config, control.lightpfp_ray
    shortest = train.min_distance or mtp.rc / 2
    options = Options(**{f.name: getattr(ours, f.name) for f in fields(Options)})
    widths = widths_of(start) if start else mtp.nn_dim_list
    stages = control.stages
    if widths:
        stages = tuple(stage for stage in stages if not stage.name.endswith(POLISH))
    refuse_contradiction(options, stages, widths, bool(start))
    return Job(
        plan=Plan(
            stages=stages,
            batch_size=control.common_config.batch_size,
            seed=ours.seed,
            fingerprint=f"{control.fingerprint()} {manifest.fingerprint}",
            folder=output.checkpoints,
            checkpoint_interval_s=ours.checkpoint_interval_s,
            options=options,
            radii=tuple(float(covalent_radii[z]) for z in train.numbers_present),
        ),
        cache=manifest.path,
        journal=output.journal,
        potential=output.potential,
        species=tuple(train.numbers_present),
        levels=Levels(mtp.levmax, mtp.moment_init_cost, mtp.moment_mu_cost, mtp.moment_nu_cost),
        radial=RadialShape(cutoff=mtp.rc, min_dist=0.99 * shortest, n_q=mtp.n_q),
        widths=tuple(mtp.nn_dim_list),
        start=start,
        dtype=ours.precision,
        origin={
            "lightpfp_ray": own_version(),
            "control": control.resolved(),
            "data": manifest.fingerprint,
            "structures": dict(manifest.kept),
        },
    )


def own_version() -> str:
    try:
        return version("lightpfp_ray")
    except PackageNotFoundError:
        return "not installed"


def _fit(job: Job, asked: Resources, session: Session, output: OutputFolder, total: int) -> None:
    from .cluster.trainer import NOTES, fit

    scratch = output.path / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was cut off
    with Progress(output.journal, total, scratch / NOTES):
        fit(job, asked, session, scratch)
    shutil.rmtree(scratch, ignore_errors=True)


def facts_of(asked: Resources) -> dict[str, str]:
    """What the report tells of the machine and the program."""
    from .mtp.engine import description

    return {
        "workers": f"{asked.workers} of {asked.each()}",
        "engine": description(),
        "lightpfp_ray": own_version(),
    }


def _recorded(
    control: ControlFile, request: Request, output: OutputFolder, manifest: Manifest
) -> tracking.Recorder:
    """While it is open, MLflow follows the output folder."""
    tags = {
        "data": manifest.fingerprint,
        "control": control.fingerprint(),
        "workers": str(request.workers),
        "lightpfp_ray": own_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "ray", "mlflow")},
    }
    recording = tracking.Recording(
        uri_of(request, output), request.experiment, request.run_name or output.path.name, tags
    )
    return tracking.Recorder(recording, output, FLUSH_TIMEOUT_S)


def _tell(output: OutputFolder) -> None:
    metrics = json.loads(output.metrics.read_text())
    check = metrics.pop("self_check", {})
    click.echo("\n" + "\n".join(table(metrics)) + "\n")
    if check:
        largest = max(value for found in check.values() for value in found.values())
        click.echo(f"self-check: {', '.join(check)} agree with the potential within {largest:.1e}")
    click.echo(f"potential: {output.potential}")
    click.echo(f"report:    {output.report}")
    click.echo("\n".join(tracking.where(output.path)))
