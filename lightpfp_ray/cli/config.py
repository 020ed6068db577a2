"""`lightpfp-ray config`: control files checked, shown in full and described."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..config import ControlFile, epochs_said, load_control, parse_control
from ..errors import UserError

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.group()
def config() -> None:
    """Check, show and describe control files.

    A control file is JSON of four sections, all optional, as is every option; // comments are
    allowed. This one trains 125, 250 and 125 epochs in its two stages and calibration:

    \b
    {"common_config": {"total_epoch": 500}}

    \b
    lightpfp-ray config show                every option with its default
    lightpfp-ray config check control.json  all mistakes at once, each with its line
    """


@config.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Find all mistakes in control FILES.

    Prints the epochs of the stages and remarks, or every mistake with its line, with exit code 1.

    \b
    lightpfp-ray config check control.json
    lightpfp-ray config check configs/*.json
    """
    mistakes = []
    for file in files:
        try:
            click.echo("\n".join(_summary(file, load_control(file))))
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError("\n".join(mistakes))


def _summary(file: Path, control: ControlFile) -> list[str]:
    split = " / ".join(str(stage.epochs) for stage in control.stages)
    names = " / ".join(stage.name for stage in control.stages)
    return [
        f"{file}: ok, {epochs_said(control.stages)}: {split} ({names})",
        *(f"{file}: note: {note}" for note in control.notes),
    ]


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a value, as mtp_config.rc=5; repeatable.",
)
def show(file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print control FILE with all options filled in.

    As the training takes it; without FILE the defaults. The output is a control file again; remarks
    go to standard error.

    \b
    lightpfp-ray config show > control.json
    lightpfp-ray config show control.json --set common_config.total_epoch=500
    """
    if file is None:
        control = parse_control("{}", "defaults", overrides)
    else:
        control = load_control(file, overrides)
    for note in control.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(as_text(control), nl=False)


def as_text(control: ControlFile) -> str:
    """The resolved file, as `show` prints it."""
    return json.dumps(control.resolved(), indent=2) + "\n"


@config.command()
def schema() -> None:
    """Print the JSON Schema of control files.

    Types, limits, defaults, units and meaning of all options. Editors complete and check a control
    file with it; in VS Code, name it in the setting json.schemas.

    \b
    lightpfp-ray config schema > control.schema.json
    """
    click.echo(json.dumps({"$schema": DIALECT} | ControlFile.model_json_schema(), indent=2))
