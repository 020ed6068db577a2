"""The command line. A command is imported when it is called: `--help` and `config` are quick."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

import click

from ..errors import UserError

COMMANDS = {
    "train": "Train a potential from a control file and structures.",
    "sweep": "Train with some values varied, and compare what comes out.",
    "forecast": "How long a training will take.",
    "evaluate": "Errors of a potential on labelled structures.",
    "grade": "How far structures lie outside of the training set.",
    "track": "Bring MLflow up to date with a training's folder.",
    "label": "Label structures with a universal potential or xTB.",
    "convert": "Structures from any format to another.",
    "doctor": "Find what is wrong with labelled structures.",
    "export": "Write a potential as a .mtp file of MLIP.",
    "models": "The pretrained models, and which of them are here.",
    "config": "Check, show and describe control files.",
}
"""Name -> what it does; each stands in a module of its name."""

TRAINING = ("matplotlib", "mlflow", "pydantic", "ray")
"""What only a training needs: the extra of that name."""

INTERRUPTED = 130


class Commands(click.Group):
    """Commands by name, each imported by its use."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f".{name}", __name__), name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--version", is_flag=True, help="Show the version; with -v, the engine in use too.")
@click.option("-v", "--verbose", is_flag=True, hidden=True)
@click.pass_context
def commands(context: click.Context, version: bool, verbose: bool) -> None:
    """Fast interatomic potentials: moment tensor potentials, trained on Ray.

    Begin with `lightpfp-ray train CONTROL.json --data FILES --output DIR`; {} is a valid control
    file.
    """
    if version:
        click.echo(f"lightpfp-ray {importlib.metadata.version('lightpfp_ray')}")
        if verbose:
            from ..mtp.engine import description

            click.echo(description())
    elif context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. A mistake of the user is one line and exit code 1; an interrupt is 130."""
    try:
        commands.main(arguments, prog_name="lightpfp-ray", standalone_mode=False)
    except UserError as error:
        click.echo("\n".join(f"error: {line}" for line in str(error).splitlines()), err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        click.echo(
            f"error: this command needs {error.name}, which is not installed: "
            "pip install 'lightpfp_ray[train]'",
            err=True,
        )
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: the same command goes on where this one stopped", err=True)
        sys.exit(INTERRUPTED)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
