"""Kill a training again and again; it must end as the undisturbed one.

Each trial trains in a folder of its own. At a random moment one process is killed by SIGKILL: a
worker, the controller of Ray Train, or the driver (which is then started again), in turn. At the
end the weights are compared bit by bit with those of a run that nobody disturbed, the journal is
looked through for gaps and doubles, and MLflow is compared with the journal.

    python benchmarks/kills.py --data configs/sample/alloy.extxyz --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from lightpfp_ray.journal import records

TITLES = {"worker": "ray::RayTrainWorker", "controller": "ray::TrainController"}
"""How Ray names the processes that may die."""

CONTROL = {
    "common_config": {"total_epoch": 24, "batch_size": 64},
    "mtp_config": {"levmax": 6, "rc": 4.5, "n_q": 6},
    "lightpfp_ray": {"checkpoint_interval_s": 0.2},
}


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    control = folder / "control.json"
    control.write_text(json.dumps(CONTROL))
    chance = random.Random(options.seed)
    command = [sys.executable, "-m", "lightpfp_ray.cli", "train", str(control)]
    command += ["--data", *options.data, "--workers", str(options.workers), "--cpus-per-worker"]
    command += ["1", "--address", "local", "--cache", str(folder / "cache"), "--output"]
    print(f"undisturbed run in {folder}")
    began = time.monotonic()
    subprocess.run([*command, str(folder / "calm")], check=True, capture_output=True)
    print(f"{time.monotonic() - began:.0f} s")
    moments = training_times(folder / "calm")
    good = 0
    for number in range(options.kills):
        victim = ("worker", "controller", "driver")[number % 3]
        name = f"{number:02d}-{victim}"
        after = chance.uniform(0, moments)
        disturbed([*command, str(folder / name)], folder / name, victim, after)
        found = differences(folder / "calm", folder / name)
        good += not found
        print(f"{name} killed {after:5.1f} s into training: {'; '.join(found) or 'equal'}")
    print(f"{good} of {options.kills} end as the undisturbed run")
    sys.exit(good != options.kills)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def training_times(folder: Path) -> float:
    """Seconds from the first to the last record of the journal."""
    times = [record["time"] for record in records(folder / "journal.jsonl")]
    return times[-1] - times[0]


def disturbed(command: list[str], folder: Path, victim: str, after: float) -> None:
    """Run the command, kill the victim `after` seconds into the training, wait for the end."""
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    journal = folder / "journal.jsonl"
    while run.poll() is None and not (journal.exists() and records(journal)):
        time.sleep(0.05)
    time.sleep(after)
    kill(run, victim)
    output, _ = run.communicate()
    if victim == "driver":
        wait_until_gone(run.pid)
        again = subprocess.run(command, capture_output=True, check=False)
        output, run.returncode = again.stdout + again.stderr, again.returncode
    if run.returncode:
        raise SystemExit(f"{folder.name} failed:\n{output.decode()[-3000:]}")


def kill(run: subprocess.Popen, victim: str) -> None:
    """SIGKILL to the driver, or to the first of its descendants with the title of the victim."""
    if run.poll() is not None:
        return
    if victim == "driver":
        run.kill()
        return
    for process in psutil.Process(run.pid).children(recursive=True):
        if any(part.startswith(TITLES[victim]) for part in process.cmdline()):
            process.send_signal(signal.SIGKILL)
            return


def wait_until_gone(driver: int) -> None:
    """Ray's own processes end by themselves when their driver is gone."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(
        "ray::" in " ".join(p.info["cmdline"] or ()) and p.info["ppid"] in (driver, 1)
        for p in psutil.process_iter(["cmdline", "ppid"])
    ):
        time.sleep(0.2)


def differences(calm: Path, folder: Path) -> list[str]:
    """What is not as in the undisturbed run."""
    found = []
    weights = [f / "potential" / "weights.safetensors" for f in (calm, folder)]
    if weights[0].read_bytes() != weights[1].read_bytes():
        found.append("the weights differ")
    expected, there = (journal_without_times(f / "journal.jsonl") for f in (calm, folder))
    if expected != there:
        found.append("the journal differs")
    doubles = [step for step, n in Counter(mlflow_steps(folder)).items() if n > 1]
    if doubles or sorted(set(mlflow_steps(folder))) != epochs(folder):
        found.append("MLflow differs from the journal")
    return found


def journal_without_times(path: Path) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("time", "seconds")} for r in records(path)]


def epochs(folder: Path) -> list[int]:
    return [r["step"] for r in records(folder / "journal.jsonl") if r["type"] == "epoch"]


def mlflow_steps(folder: Path) -> list[int]:
    """Steps of the learning rate that MLflow holds for the run of a folder."""
    from mlflow import MlflowClient

    tracked = json.loads((folder / "tracking.json").read_text())
    history = MlflowClient(tracked["uri"]).get_metric_history(tracked["run_id"], "lr")
    return [point.step for point in history]


if __name__ == "__main__":
    main()
