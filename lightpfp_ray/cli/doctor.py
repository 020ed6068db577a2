"""`lightpfp-ray doctor`: what is wrong with labelled structures, before a training."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import ManyValues, data, keys

if TYPE_CHECKING:
    from ..data.keys import Keys
    from ..data.structure import Structure
    from ..doctor.examine import Report

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}

FOUND_ERRORS = 2
"""Exit code where a finding is an error."""


@click.command(cls=ManyValues)
@data
@keys
@click.option("--json", "as_json", is_flag=True, help="Summary and findings as JSON.")
@click.option("--html", type=click.Path(path_type=Path), help="A page with pictures, in one file.")
def doctor(data: tuple[str, ...], key: tuple[str, ...], as_json: bool, html: Path | None) -> None:
    """Find what is wrong with labelled structures: units, signs, zeros, outliers, duplicates.

    \b
    lightpfp-ray doctor --data 'data/*.extxyz'
    lightpfp-ray doctor --data data/ --html doctor.html

    Exit code 2 where there is an error among the findings.
    """
    from ..data.keys import Keys
    from ..doctor.examine import examine

    report = examine(_structures(data, Keys.of(key)))
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _tell(report)
    if html:
        from ..doctor.page import page
        from ..files import write_atomically

        write_atomically(html, page(report, list(data)).encode())
        click.echo(f"wrote {html}", err=as_json)
    if any(finding.level == "error" for finding in report.findings):
        sys.exit(FOUND_ERRORS)


def _structures(data: tuple[str, ...], keys: Keys) -> Iterator[Structure]:
    from ..data.read import blocks_of, expand_paths, read_as_written

    blocks = [b for path in expand_paths(data) for b in blocks_of(path, path.name, keys=keys)]
    hidden = len(blocks) < 10 or not sys.stderr.isatty()
    with click.progressbar(blocks, label="reading", file=sys.stderr, hidden=hidden) as waiting:
        for block in waiting:
            yield from read_as_written(block)


def _tell(report: Report) -> None:
    from ..doctor.examine import summary_lines

    for line in summary_lines(report.survey):
        click.echo(line)
    for finding in report.findings:
        level = click.style(finding.level, fg=COLORS[finding.level])
        click.echo(f"{level}: {finding.line()}")
    if not report.findings:
        click.echo("nothing was found")
