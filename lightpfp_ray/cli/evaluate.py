"""`lightpfp-ray evaluate`: errors of a potential on labelled structures."""

from __future__ import annotations

import json

import click

from .options import ManyValues, data, keys, numbers_of, species


@click.command(cls=ManyValues)
@click.argument("potential")
@data
@keys
@species
@click.option("--json", "as_json", is_flag=True, help="Figures in eV/atom, eV/A, eV/A^3 as JSON.")
def evaluate(
    potential: str,
    data: tuple[str, ...],
    key: tuple[str, ...],
    species: str | None,
    as_json: bool,
) -> None:
    """MAE and RMSE of POTENTIAL (output folder, potential folder, .mtp, .almtp) on structures.

    \b
    lightpfp-ray evaluate run/ --data test.extxyz
    lightpfp-ray evaluate Si.almtp --species Si --data 'more/*.extxyz' --json
    """
    from ..data.keys import Keys
    from ..evaluation import batches_of_files, table
    from ..evaluation import evaluate as errors_of
    from ..potential import load

    model = load(potential, numbers_of(species)).model
    found = errors_of(model, batches_of_files(data, model, Keys.of(key)))
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(table({"structures": found})))
