"""`lightpfp-ray export`: a potential as a file of MLIP."""

from __future__ import annotations

import click

from .options import numbers_of, species


@click.command()
@click.argument("potential")
@click.argument("file", metavar="OUT.mtp")
@species
def export(potential: str, file: str, species: str | None) -> None:
    """Write POTENTIAL (output folder, potential folder, .mtp, .almtp) as a file that MLIP-2,
    MLIP-3, their LAMMPS plugins and motep read. Linear readouts only.

    \b
    lightpfp-ray export run/ Si.mtp
    lightpfp-ray export InP.almtp InP.mtp --species In,P
    """
    from ..mlip_format import write_mtp
    from ..potential import load

    model = load(potential, numbers_of(species)).model
    write_mtp(file, model)
    order = ", ".join(f"{i} {name}" for i, name in enumerate(_symbols(model.species)))
    click.echo(f"{file}: {len(model.basis.scalars)} basis functions, species {order}")
    if len(model.species) > 10:
        click.echo("note: MLIP-2 reads at most 10 species, MLIP-3 and motep read more")


def _symbols(numbers: tuple[int, ...]) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in numbers]
