"""Stop MLflow's server under a training: how much longer it runs, and what MLflow holds after.

Each round trains the same control file three times, in turns: with a server that answers, with one
that is down from the beginning to the end, and with one that is killed in the middle and started
again. Then the server is up, `lightpfp-ray track` is called, and MLflow must hold every point of
the journal once. The table gives medians:

    command    wall time of `train`, and by how much it is above that with the server up
    training   from the first to the last record of the journal
    between    what lies between two epochs: the journal, checkpoints, and whatever else a training
               could wait for; its median and its longest of all rounds, checkpoints left out
    track      points that `track` had to send: what MLflow had missed

A call stops after some minutes; the same command then goes on.

    python -m benchmarks.tracking_outage --data configs/sample/alloy.extxyz --rounds 3
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from lightpfp_ray.journal import records
from lightpfp_ray.output import OutputFolder
from tests.mlflow_server import Server
from tests.tracking_samples import in_journal, in_mlflow

from .pieces import Pieces, add_options

CONTROL = {
    "mtp_config": {"levmax": 6, "rc": 4.5},
    "lightpfp_ray": {"checkpoint_interval_s": 1e6},
}
CASES = ("server up", "server down", "server killed")
CLI = [sys.executable, "-m", "lightpfp_ray.cli"]


def main() -> None:
    options = arguments()
    pieces = Pieces(options)
    control = pieces.folder / "control.json"
    common = {"total_epoch": options.epochs, "batch_size": 32}
    control.write_text(json.dumps({**CONTROL, "common_config": common}))
    train = [*CLI, "train", str(control), "--data", *options.data]
    train += ["--cache", str(pieces.folder / "cache")]
    train += ["--cpus-per-worker", "1"]  # the server has a processor of its own
    pieces.piece("prepared", partial(measured, train, "server up", options.epochs))
    found: dict[str, list[dict]] = {case: [] for case in CASES}
    for number in range(options.rounds):
        for case in CASES:
            measure = partial(measured, train, case, options.epochs)
            found[case].append(pieces.piece(f"{number}-{case.replace(' ', '-')}", measure))
    tell(found)
    sys.exit(not all(one["equal"] for some in found.values() for one in some))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    add_options(parser, "outage")
    return parser.parse_args()


def measured(train: list[str], case: str, epochs: int, folder: Path) -> dict:
    """Train once with a server of its own in one of the cases, and bring MLflow up to date."""
    output, server = OutputFolder(folder / "run"), Server(folder)
    server.start()
    try:
        command = [*train, "--tracking-uri", server.uri, "--output", str(output.path)]
        seconds = trained(command, output, case, server, epochs)
        track = [*CLI, "track", str(output.path)]
        said = subprocess.run(track, check=True, capture_output=True, text=True).stdout
        equal = in_mlflow(output) == in_journal(output)
    finally:
        server.kill()
    written = records(output.journal)
    return {
        "command": seconds,
        "training": written[-1]["time"] - written[0]["time"],
        "between": between(written),
        "late": int(said.split()[0]),
        "equal": equal,
    }


def trained(
    command: list[str], output: OutputFolder, case: str, server: Server, epochs: int
) -> float:
    """Wall time of a training in one of the cases. The server is up before and after."""
    if case == "server down":
        server.kill()
    began = time.monotonic()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if case == "server killed":
        while run.poll() is None and len(records(output.journal)) < epochs // 2:
            time.sleep(0.2)
        server.kill()
        server.start()
    said, _ = run.communicate()
    seconds = time.monotonic() - began
    if run.returncode:
        raise SystemExit(f"{output.path} failed:\n{said[-3000:]}")
    if case == "server down":
        server.start()
    return seconds


def between(written: list[dict]) -> list[float]:
    """Seconds from the end of an epoch to the beginning of the next one of the same stage."""
    return [
        after["time"] - before["time"] - after["seconds"]
        for before, after in pairwise(written)
        if before["type"] == after["type"] == "epoch" and before["stage"] == after["stage"]
    ]


def tell(found: dict[str, list[dict]]) -> None:
    rounds = len(found[CASES[0]])
    print(
        f"{'':14}{'command s':>10}{'more':>8}{'training s':>12}{'more':>8}"
        f"{'between ms':>12}{'longest':>9}{'track':>8}{'every point once':>18}"
    )
    calm = {what: median(one[what] for one in found[CASES[0]]) for what in ("command", "training")}
    for case, some in found.items():
        cells = ""
        for what, width in (("command", 10), ("training", 12)):
            seconds = median(one[what] for one in some)
            cells += f"{seconds:{width}.1f}{seconds / calm[what] - 1:8.1%}"
        gaps = [gap for one in some for gap in one["between"]]
        cells += f"{1e3 * median(gaps):12.2f}{1e3 * max(gaps):9.1f}"
        cells += f"{median(one['late'] for one in some):8.0f}"
        once = f"{sum(one['equal'] for one in some)} of {rounds}"
        print(f"{case:14}{cells}{once:>18}")


if __name__ == "__main__":
    main()
