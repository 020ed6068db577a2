"""`lightpfp-ray convert`: structures from any format to another, without loss."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import UserError
from .options import keys, numbers_of


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@keys
@click.option("--species", help="Order in which a .cfg file numbers the elements, as In,P.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def convert(
    inputs: tuple[str, ...],
    output: Path,
    key: tuple[str, ...],
    species: str | None,
    overwrite: bool,
) -> None:
    """Write the structures of files, folders and globs to OUT.

    \b
    lightpfp-ray convert 'runs/*/OUTCAR' all.extxyz
    lightpfp-ray convert data.h5 train.cfg --species Si,Ge
    lightpfp-ray convert mace.xyz train.parquet --key energy=REF_energy

    The name of OUT tells its format: .extxyz, .cfg (MLIP), .h5 (LightPFP), .parquet; text also with
    .gz or .xz. All numbers keep all their digits.
    """
    from ..data.keys import Keys
    from ..data.read import blocks_of, expand_paths, read_as_written
    from ..data.write import writing

    paths = expand_paths(inputs)
    if output.resolve() in paths:
        raise UserError(f"{output} is also read: give another name")
    if output.exists() and not overwrite:
        raise UserError(f"{output} is there: give another name, or --overwrite")
    blocks = [block for path in paths for block in blocks_of(path, path.name, keys=Keys.of(key))]
    count = atoms = 0
    with writing(output, numbers_of(species) or ()) as add, _bar(blocks) as waiting:
        for block in waiting:
            for structure in read_as_written(block):
                _refuse(structure)
                add(structure)
                count += 1
                atoms += len(structure.numbers)
    click.echo(f"wrote {count} structures ({atoms} atoms) of {len(paths)} files to {output}")


def _refuse(structure) -> None:
    """Raises UserError where an atom is none that a file can name."""
    numbers = structure.numbers
    if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= 118:
        raise UserError(
            f"{structure.source} holds an unknown element ({numbers.min()} to {numbers.max()} are "
            "the atomic numbers): correct the file"
        )


def _bar(blocks: list):
    hidden = len(blocks) < 10 or not sys.stderr.isatty()
    return click.progressbar(blocks, label="converting", file=sys.stderr, hidden=hidden)
