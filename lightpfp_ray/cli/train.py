"""`lightpfp-ray train`: the options, and the run they describe."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .options import (
    ManyValues,
    cpus_per_worker,
    device,
    in_mlflow,
    on_ray,
    output,
    overrides,
    prepared_data,
)


@click.command(cls=ManyValues)
@click.argument("control", type=click.Path(path_type=Path))
@prepared_data
@output("the run: potential, metrics, journal, pictures; the same command goes on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
@cpus_per_worker
@device
@overrides
@click.option(
    "--time-budget",
    metavar="TIME",
    help="Choose total_epoch so that the whole command, from its start to its exit, takes this "
    "time: 90s, 30m, 2h.",
)
@click.option("--fresh", is_flag=True, help="Remove an earlier run from the output folder first.")
@click.option(
    "--resume-anyway",
    is_flag=True,
    help="Go on with the run in the folder although its control file or its data have changed.",
)
@click.option(
    "--compare",
    multiple=True,
    metavar="FOLDER...",
    help="Earlier runs, whose test errors the report shows beside this one's.",
)
@in_mlflow
@on_ray
def train(**options) -> None:
    """Train a potential as CONTROL says, in stages, data-parallel on Ray, recorded in MLflow.

    \b
    lightpfp-ray train control.json --data 'data/*.extxyz' --output run
    lightpfp-ray train control.json --data train/ --test-data test.extxyz --output run --workers 4

    A killed or interrupted run goes on with the same command. Energies are in eV, lengths in A,
    stress in eV/A^3, positive under tension.
    """
    began = time.monotonic()
    from ..config import load_control
    from ..run import Request, run

    control = load_control(options.pop("control"), options.pop("overrides"))
    run(control, Request(**options), began)
