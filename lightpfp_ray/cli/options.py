"""What several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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

skip_bad = click.option(
    "--skip-bad",
    is_flag=True,
    help="Leave out structures with NaN labels or unknown elements, counted, in place of refusing.",
)

cache = click.option("--cache", type=click.Path(path_type=Path), help="Of prepared structures.")

cpus_per_worker = click.option(
    "--cpus-per-worker", type=click.IntRange(1), help="Threads of each worker."
)

device = click.option(
    "--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"])
)


def together(*options: Callable) -> Callable:
    """Several options as one decorator, in that order."""

    def decorated(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


in_mlflow = together(
    click.option(
        "--tracking-uri", help="MLflow server or store; default: mlflow.db beside the output."
    ),
    click.option("--experiment", default="lightpfp_ray", show_default=True, help="Of MLflow."),
    click.option("--run-name", help="Of MLflow; default: the name of the output folder."),
)

prepared_data = together(
    data,
    click.option(
        "--test-data",
        multiple=True,
        metavar="PATH...",
        help="The test set; without it a tenth of the data, chosen by content and seed.",
    ),
    keys,
    skip_bad,
    cache,
)
"""Structures, and how they become a training set and a test set."""

overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As rc: mtp_config.rc=6."
)


def output(holds: str) -> Callable:
    """Where a training or a sweep leaves what it made."""
    return click.option(
        "--output", required=True, type=click.Path(path_type=Path), help=f"Folder of {holds}"
    )


on_ray = together(
    click.option("--address", help='Ray cluster; "local": a Ray of this command\'s own.'),
    click.option(
        "--wait-for-nodes",
        default=0.0,
        metavar="SECONDS",
        help="How long a cluster that scales up has to become large enough for the workers.",
    ),
    click.option("--verbose", is_flag=True, help="Show the logs of Ray and its workers."),
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
