"""`lightpfp-ray label`: structures get the labels of a teacher."""

from __future__ import annotations

from pathlib import Path

import click

from .options import keys, on_ray


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "--teacher",
    required=True,
    metavar="NAME",
    help="chgnet, tblite:GFN1-xTB, tblite:GFN2-xTB, or MODULE:CALLABLE.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Of one thread each; default: one for each processor.",
)
@keys
@click.option(
    "--overwrite", is_flag=True, help="Replace OUT, or what was begun of it, if it is another's."
)
@on_ray
def label(**options) -> None:
    """Label the structures of files, folders and globs with energy, forces and stress of a
    TEACHER, on Ray, and write them to OUT (.extxyz, .cfg, .h5, .parquet).

    A potential of an alloy, distilled from CHGNet:

    \b
    lightpfp-ray label --teacher chgnet 'md/*.traj' labels.extxyz
    lightpfp-ray train control.json --data labels.extxyz --output run
    lightpfp-ray export run alloy.mtp

    \b
    chgnet      crystals of 89 elements, all but Po At Rn Fr Ra and those after Pu
    tblite:...  neutral molecules and large cells (Gamma point alone), up to Rn
    MODULE:CALLABLE  an ASE calculator: the module is imported from this folder or from
                what is installed, all its code is run, the callable is called without
                arguments, once in each worker

    Labels that the files hold are replaced; groups and weights are kept. What cannot be labelled is
    skipped, counted, and listed with its reason in OUT.skipped.csv. OUT.json tells the teacher, its
    version and licence; the structures carry name and version too. A stress is given where all
    three directions are periodic. A killed or interrupted command goes on where it was when it is
    given again. chgnet and tblite are installed by: pip install 'lightpfp_ray[teacher]'
    """
    from ..labelling import Request
    from ..labelling import label as labelled

    labelled(Request(**options))
