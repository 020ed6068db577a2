"""What `forecast` and `--time-budget` say against the clock.

Three trainings of different size: first forecast, then run, both as commands of their own with the
structures prepared before. The time of a run is that of its whole command, from start to exit, and
so is a budget; its parts are told one by one. A call stops after some minutes; the same command
then goes on.

    python -m benchmarks.forecast --data configs/sample/alloy.extxyz --budget 120
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from lightpfp_ray.journal import records

from .pieces import Pieces, add_options

CUTOFF = 5.0
"""Of all, so that the structures are prepared once."""

TRAININGS = {
    "small": {"common_config": {"total_epoch": 80}, "mtp_config": {"levmax": 6, "rc": CUTOFF}},
    "large": {
        "common_config": {"total_epoch": 240, "batch_size": 64},
        "mtp_config": {"levmax": 14, "rc": CUTOFF, "n_q": 8},
    },
    "network": {
        "common_config": {"total_epoch": 120},
        "mtp_config": {"levmax": 8, "rc": CUTOFF, "nn_dim_list": [16, 16]},
    },
}
BUDGETED = "network"
PARTS = ("start", "launch", "training", "report", "end", "command")
SAID = {
    "start": "TIME for Ray",
    "launch": "TIME to launch",
    "training": "^whole training +TIME$",
    "report": "TIME for the report",
    "end": "TIME to end",
    "command": "^train, from start to exit +TIME$",
}
"""Where `forecast` tells of each part."""

SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
CLI = [sys.executable, "-m", "lightpfp_ray.cli"]


def main() -> None:
    options = arguments()
    pieces = Pieces(options)
    common = ["--cache", str(pieces.folder / "cache"), "--cpus-per-worker", "1"]
    common += ["--data", *options.data, "--address", "local"]
    for name, control in TRAININGS.items():
        (pieces.folder / f"{name}.json").write_text(json.dumps(control))
    pieces.piece("prepared", partial(prepared, str(pieces.folder / "small.json"), common))
    print(f"{'s, and forecast':22}" + "".join(f"{part:>17}" for part in PARTS), flush=True)
    good = []
    for name, control in TRAININGS.items():
        file = str(pieces.folder / f"{name}.json")
        said = pieces.piece(f"forecast-{name}", partial(forecast, file, common))
        took = pieces.piece(f"train-{name}", partial(trained, file, common))
        cells = (f"{took[part]:9.1f}{said[part]:8.1f}" for part in PARTS)
        difference = said["command"] / took["command"] - 1
        epochs = f"{name}, {control['common_config']['total_epoch']} epochs"
        print(f"{epochs:22}" + "".join(cells) + f"{difference:+9.0%}", flush=True)
        good.append(abs(difference) <= 0.25)
    file = str(pieces.folder / f"{BUDGETED}.json")
    budget = [*common, "--time-budget", f"{options.budget}s"]
    took = pieces.piece("budget", partial(trained, file, budget))
    print(f"{'with --time-budget':22}" + "".join(f"{took[part]:9.1f}{'':8}" for part in PARTS))
    print(
        f"\n--time-budget {options.budget:.0f}s, {BUDGETED}: {took['command']:.1f} s from start to "
        f"exit, {took['command'] / options.budget - 1:+.0%}\n{took['said']}"
    )
    good.append(abs(took["command"] / options.budget - 1) <= 0.1)
    sys.exit(not all(good))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--budget", type=float, default=120, help="in s")
    add_options(parser, "forecast")
    return parser.parse_args()


def prepared(file: str, common: list[str], folder: Path) -> None:
    """Structures with their edges in the cache, as both commands find them there."""
    short = ["--set", "common_config.total_epoch=1"]
    short += ["--set", "lightpfp_ray.starts=1", "--output", str(folder / "run")]
    subprocess.run([*CLI, "train", file, *common, *short], check=True, capture_output=True)


def forecast(file: str, common: list[str], folder: Path) -> dict[str, float]:
    """Seconds that are forecast for one worker, by part."""
    command = [*CLI, "forecast", file, *common, "--workers", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(run.stdout + run.stderr)[-3000:]}")
    found = {}
    for part, pattern in SAID.items():
        number, unit = re.search(
            pattern.replace("TIME", r"([\d.]+) (\w+)"), run.stdout, re.M
        ).groups()
        found[part] = float(number) * SECONDS[unit]
    return found


def trained(file: str, common: list[str], folder: Path) -> dict[str, float | str]:
    """Seconds of a training, by part, and what it said of its budget."""
    command = [*CLI, "train", file, *common, "--output", str(folder / "run")]
    began, launched, lines = time.time(), 0.0, []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as run:
        for line in run.stdout:
            lines.append(line)
            if line.startswith("training "):
                launched = time.time()
    exited = time.time()
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{''.join(lines)[-3000:]}")
    written = records(folder / "run" / "journal.jsonl")
    first, last = written[0]["time"], written[-1]["time"]
    reported = (folder / "run" / "metrics.json").stat().st_mtime
    borders = (began, launched, first, last, reported, exited)
    found = {part: b - a for part, (a, b) in zip(PARTS, pairwise(borders), strict=False)}
    said = "".join(line for line in lines if line.startswith("time budget"))
    return {**found, "command": exited - began, "said": said}


if __name__ == "__main__":
    main()
