"""`lightpfp-ray forecast`: how long a training will take, before it is begun."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import ManyValues, cpus_per_worker, on_ray, overrides, prepared_data

if TYPE_CHECKING:
    from ..budget import Around
    from ..data.manifest import Manifest
    from ..forecast import Forecast


@click.command(cls=ManyValues)
@click.argument("control", type=click.Path(path_type=Path))
@prepared_data
@overrides
@click.option(
    "--workers",
    multiple=True,
    default=(1, 2, 4, 8),
    show_default=True,
    type=click.IntRange(1),
    metavar="N...",
    help="Numbers of workers to forecast for.",
)
@cpus_per_worker
@on_ray
def forecast(
    control: Path,
    overrides: tuple[str, ...],
    workers: tuple[int, ...],
    cpus_per_worker: int | None,
    **options,
) -> None:
    """Say how long a training as CONTROL says will take, its size, memory, and speed in MD.

    \b
    lightpfp-ray forecast control.json --data 'data/*.extxyz'
    lightpfp-ray forecast control.json --data train/ --set mtp_config.levmax=16 --workers 1 16

    Some seconds of the training itself are run on a part of the structures.
    """
    began = time.monotonic()
    import torch

    from ..budget import Around, process_s
    from ..cluster.session import ray_session
    from ..config import load_control
    from ..forecast import forecast as measured
    from ..output import OutputFolder
    from ..potential import cutoff_of
    from ..preflight import opened_sets, refuse_zoo
    from ..run import Request, job_of, prepared, start_of

    found = load_control(control, overrides)
    refuse_zoo(found)
    output = OutputFolder(Path.cwd() / "forecast")  # a name for what lies beside it: the cache
    request = Request(output=output.path, **options)
    with ray_session(request.address, request.verbose):
        start = start_of(found, request, output)
        manifest = prepared(found, request, output, cutoff_of(start) if start else None)
        sets = opened_sets(manifest)
        around = Around.of(time.monotonic() - began, process_s())
        torch.set_num_threads(cpus_per_worker or 1)
        job = job_of(found, manifest, sets["train"], output, start)
        expected = measured(job, manifest, sets)
    click.echo("\n".join(_lines(expected, around, manifest, sorted(set(workers)))))


def _lines(found: Forecast, around: Around, manifest: Manifest, workers: list[int]) -> list[str]:
    from ..mtp.engine import description

    atoms = sum(manifest.n_atoms.values())
    size = sum(file.stat().st_size for file in manifest.path.rglob("*") if file.is_file())
    titles = "".join(f"{f'{n} worker' + 's' * (n > 1):>12}" for n in workers)
    rows = [
        (
            f"{s.name}, each of {'at most ' * s.ends_by_itself}{s.epochs} epochs",
            [found.epoch_s(s.name, n) for n in workers],
        )
        for s in found.stages
        if s.epochs
    ]
    totals = [found.total_s(n) for n in workers]
    shorter = found.shortest != found.stages
    if shorter:
        least = [found.total_s(n, found.shortest) for n in workers]
        rows.append(("whole training, at least", least))
    rows.append(("whole training, at most" if shorter else "whole training", totals))
    rows.append(
        ("train, from start to exit", [found.results_s + around.seconds + t for t in totals])
    )
    steepest = max(found.costs, key=found.us_per_atom_and_step)
    step_s = 1e-6 * found.us_per_atom * 1000
    return [
        f"potential: {found.n_basis} basis functions, {found.n_parameters} parameters",
        f"structures: {atoms} atoms, {found.n_edges / atoms:.0f} neighbors each; "
        f"{found.n_steps} steps an epoch",
        f"training: {found.us_per_atom_and_step(steepest):.2f} us/atom/step ({description()})",
        "",
        f"{'':36}{titles}",
        *(f"{name:36}" + "".join(f"{_duration(t):>12}" for t in times) for name, times in rows),
        "",
        f"outside of the training: {_duration(around.start_s)} for Ray and the structures, "
        f"{_duration(around.launch_s)} to launch workers, {_duration(found.results_s)} for the "
        f"report, {_duration(around.end_s)} to end",
        f"memory: {found.peak_bytes / 2**30:.1f} GB a worker; {size / 2**20:.0f} MB of structures, "
        "in memory once a machine",
        f"MD: {found.us_per_atom:.2f} us/atom/step on one core without the neighbor search: 1000 "
        f"atoms {86400e-6 / step_s:.1f} ns a day in steps of 1 fs",
    ]


def _duration(seconds: float) -> str:
    """With two or three digits."""
    from ..progress import duration

    if seconds < 0.1:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    return f"{seconds:.0f} s" if seconds < 1000 else duration(seconds)
