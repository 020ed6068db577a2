"""What several commands share."""

from __future__ import annotations

import click


class ManyValues(click.Command):
    """A command whose repeatable options take several values: `--data a.xyz b.xyz`, as a shell
    expands.
    """

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        repeatable = {name for p in self.params if p.multiple for name in p.opts}
        return super().parse_args(context, _repeated(arguments, repeatable))


def _repeated(arguments: list[str], repeatable: set[str]) -> list[str]:
    """The option's name before each of its values."""
    found: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in repeatable else None
            found.append(argument)
        elif option and found[-1] != option:
            found += [option, argument]
        else:
            found.append(argument)
    return found


data = click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="PATH...",
    help="Labelled structures: files, folders, globs; extended XYZ, ASE .traj and .db, OUTCAR, "
    "vasprun.xml, MLIP .cfg, HDF5, Parquet; text also as .gz or .xz.",
)

keys = click.option(
    "--key",
    multiple=True,
    metavar="LABEL=NAME",
    help="Which entry of the files is a label, as energy=REF_energy; of energy, forces, stress, "
    "virial, weight, group, and species=In,P for files that number their elements.",
)

species = click.option(
    "--species", help="Elements of a .mtp file that only numbers them, in its order, as Si,Ge."
)


def numbers_of(names: str | None) -> list[int] | None:
    """Atomic numbers of "Si,Ge"; None where nothing was given."""
    if names is None:
        return None
    from ase.data import atomic_numbers

    words = [word.strip() for word in names.split(",")]
    unknown = [word for word in words if word not in atomic_numbers]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is no element", param_hint="--species")
    return [atomic_numbers[word] for word in words]
