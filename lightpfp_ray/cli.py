"""The command line. A command is imported when it is called: `--help` and `config` are quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from .errors import UserError

COMMANDS = {
    "train": ("cli_train", "train", "Train a potential from a control file and structures."),
    "sweep": ("cli_sweep", "sweep", "Train with some values varied, and compare what comes out."),
    "forecast": ("cli_forecast", "forecast", "How long a training will take."),
    "evaluate": ("cli_evaluate", "evaluate", "Errors of a potential on labelled structures."),
    "grade": ("cli_grade", "grade", "How far structures lie outside of the training set."),
    "track": ("cli_track", "track", "Bring MLflow up to date with a training's folder."),
    "convert": ("cli_convert", "convert", "Structures from any format to another."),
    "doctor": ("cli_doctor", "doctor", "Find what is wrong with labelled structures."),
    "export": ("cli_export", "export", "Write a potential as a .mtp file of MLIP."),
    "config": ("cli_config", "config", "Check, show and describe control files."),
}
"""Name -> module, command in it, what it does."""

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
        module, attribute, _ = COMMANDS[name]
        return getattr(importlib.import_module(f".{module}", __package__), attribute)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lightpfp_ray", prog_name="lightpfp-ray")
def commands() -> None:
    """Fast interatomic potentials: moment tensor potentials, trained on Ray.

    Begin with `lightpfp-ray train CONTROL.json --data FILES --output DIR`; {} is a valid control
    file.
    """


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
        click.echo("interrupted: the same command goes on from the last checkpoint", err=True)
        sys.exit(INTERRUPTED)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
