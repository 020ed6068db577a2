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
    help="Labelled structures: files, folders, globs of anything that ASE reads.",
)
