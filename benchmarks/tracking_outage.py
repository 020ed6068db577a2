"""Stop MLflow's server under a training: how much longer it runs, and what MLflow holds after.

Each round trains the same control file three times: with a server that answers, with one that is
down from the beginning to the end, and with one that is killed in the middle and started again.
Then the server is up and `lightpfp-ray track` is called. The table gives the median of the wall
times of `train`, and whether MLflow then holds every point of the journal once.

    python -m benchmarks.tracking_outage --data configs/sample/alloy.extxyz --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lightpfp_ray.journal import records
from lightpfp_ray.output import OutputFolder
from tests.mlflow_server import Server
from tests.tracking_samples import in_journal, in_mlflow

CONTROL = {"mtp_config": {"levmax": 6, "rc": 4.5}}
CASES = ("server up", "server down", "server killed")
CLI = [sys.executable, "-c", "from lightpfp_ray.cli import main; main()"]


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="outage-"))
    control = folder / "control.json"
    common = {"total_epoch": options.epochs, "batch_size": 32}
    control.write_text(json.dumps({**CONTROL, "common_config": common}))
    server = Server(folder)
    command = [*CLI, "train", str(control), "--data", *options.data, "--cache"]
    command += [str(folder / "cache"), "--tracking-uri", server.uri, "--output"]
    times: dict[str, list[float]] = {case: [] for case in CASES}
    equal = dict.fromkeys(CASES, 0)
    server.start()
    trained(command, folder / "first", "server up", server, options.epochs)  # prepares the data
    for number in range(options.rounds):
        for case in CASES:
            output = folder / f"{number}-{case.replace(' ', '-')}"
            times[case].append(trained(command, output, case, server, options.epochs))
            subprocess.run([*CLI, "track", str(output)], check=True, capture_output=True)
            found = OutputFolder(output)
            equal[case] += in_mlflow(found) == in_journal(found)
    server.kill()
    print(f"{'':16}{'seconds':>10}{'more':>8}{'equal to the journal':>24}")
    calm = statistics.median(times["server up"])
    for case, seconds in times.items():
        wall = statistics.median(seconds)
        share = f"{equal[case]} of {options.rounds}"
        print(f"{case:16}{wall:10.1f}{wall / calm - 1:8.1%}{share:>24}")
    sys.exit(sum(equal.values()) != len(CASES) * options.rounds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def trained(command: list[str], output: Path, case: str, server: Server, epochs: int) -> float:
    """Wall time of a training in one of the cases. The server is up before and after."""
    if case == "server down":
        server.kill()
    began = time.monotonic()
    run = subprocess.Popen(
        [*command, str(output)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if case == "server killed":
        while run.poll() is None and len(records(output / "journal.jsonl")) < epochs // 2:
            time.sleep(0.2)
        server.kill()
        server.start()
    said, _ = run.communicate()
    seconds = time.monotonic() - began
    if run.returncode:
        raise SystemExit(f"{output.name} failed:\n{said.decode()[-3000:]}")
    if case == "server down":
        server.start()
    return seconds


if __name__ == "__main__":
    main()
