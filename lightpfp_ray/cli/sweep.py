"""`lightpfp-ray sweep`: the options, and the sweep they describe."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    ManyValues,
    cpus_per_worker,
    device,
    in_mlflow,
    on_ray,
    output,
    prepared_data,
)


@click.command(cls=ManyValues)
@click.argument("sweep", metavar="SWEEP", type=click.Path(path_type=Path))
@prepared_data
@output("the sweep: trials, table, picture; the same command goes on.")
@cpus_per_worker
@device
@click.option("--fresh", is_flag=True, help="Remove the trials of an earlier sweep first.")
@in_mlflow
@click.option(
    "--register-as",
    "model_name",
    metavar="NAME",
    help='Model of MLflow whose alias "best" the best potential gets; default: the name of the '
    "output folder.",
)
@on_ray
def sweep(sweep: Path, model_name: str | None, **options) -> None:
    """Train a potential for each choice of some values of a control file, and compare them.

    SWEEP is JSON: the control file, and lists or ranges for dotted keys of it.

    \b
    {"control": {"common_config": {"total_epoch": 100}},
     "parameters": {"mtp_config.levmax": {"grid": [8, 12, 16]},
                    "mtp_config.n_q": {"grid": [6, 8]}}}

    \b
    lightpfp-ray sweep sweep.json --data 'data/*.extxyz' --output sizes

    Trials run side by side, as many as the CPUs hold; a stopped sweep goes on with the same
    command. The end is a table, a picture of error against time, and the best potential's name.
    """
    from ..run import Request
    from ..run_sweep import run_sweep
    from ..sweep import load_sweep

    found = load_sweep(sweep)
    request = Request(workers=found.options.workers_per_trial, **options)
    run_sweep(found, request, model_name)
