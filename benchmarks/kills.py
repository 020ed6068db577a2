"""Kill a training again and again; it must end as the undisturbed one.

Each trial trains in a folder of its own. At a random moment one process is killed by SIGKILL: a
worker, the controller of Ray Train, or the driver (which is then started again), in turn. At the
end the weights are compared bit by bit with those of a run that nobody disturbed, the journal is
looked through for gaps and doubles, and MLflow is compared with the journal.

A call stops after some minutes; the same command then goes on with the kills that are left.

    python -m benchmarks.kills --data configs/sample/alloy.extxyz --kills 20 --seed 0
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import psutil

from lightpfp_ray.journal import records

from .pieces import Pieces, add_options

TITLES = {"worker": "ray::RayTrainWorker", "controller": "ray::TrainController"}
"""How Ray names the processes that may die."""

ATTEMPTS = 3

CONTROL = {
    "common_config": {"total_epoch": 24, "batch_size": 64},
    "mtp_config": {"levmax": 6, "rc": 4.5, "n_q": 6},
    "lightpfp_ray": {"checkpoint_interval_s": 0.2},
}


def main() -> None:
    options = arguments()
    pieces = Pieces(options)
    control = pieces.folder / "control.json"
    control.write_text(json.dumps(CONTROL))
    command = [sys.executable, "-m", "lightpfp_ray.cli", "train", str(control)]
    command += ["--data", *options.data, "--workers", str(options.workers), "--cpus-per-worker"]
    command += ["1", "--address", "local", "--cache", str(pieces.folder / "cache")]
    command += ["--tracking-uri", f"sqlite:///{pieces.folder / 'mlflow.db'}", "--output"]
    lasts = pieces.piece("calm", lambda folder: undisturbed(command, folder))
    print(f"undisturbed: {lasts:.1f} s of training; all runs are in {pieces.folder}", flush=True)
    good = 0
    for number in range(options.kills):
        victim = ("worker", "controller", "driver")[number % 3]
        after = random.Random(f"{options.seed} {number}").uniform(0, lasts)
        name = f"{number:02d}-{victim}"
        told = pieces.piece(name, partial(trial, command, pieces.folder / "calm", victim, after))
        good += not told["differences"]
        said = "; ".join(told["differences"]) or "equal"
        print(f"{name} killed {told['after']:5.1f} s into training: {said}", flush=True)
    print(f"{good} of {options.kills} end as the undisturbed run")
    sys.exit(good != options.kills)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser, "kills")
    return parser.parse_args()


def undisturbed(command: list[str], folder: Path) -> float:
    """Train; seconds from the first to the last record of the journal."""
    command = [*command, str(folder / "run")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{folder} failed:\n{(run.stdout + run.stderr)[-3000:]}")
    return training_times(folder / "run")


def trial(command: list[str], calm: Path, victim: str, after: float, folder: Path) -> dict:
    """Train once more, with a kill: when it was, and what is not as in the undisturbed run."""
    for attempt in range(ATTEMPTS):
        output = folder / f"run-{attempt}"
        if disturbed([*command, str(output)], output, victim, after):
            return {"after": after, "differences": differences(calm / "run", output)}
        after /= 2  # this run was quicker, and at its end before
    raise SystemExit(f"{folder.name}: no process was there to be killed")


def training_times(folder: Path) -> float:
    """Seconds from the first to the last record of the journal."""
    times = [record["time"] for record in records(folder / "journal.jsonl")]
    return times[-1] - times[0]


def disturbed(command: list[str], folder: Path, victim: str, after: float) -> bool:
    """Run the command, kill the victim `after` seconds into the training, wait for the end; whether
    there was a victim.
    """
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    journal = folder / "journal.jsonl"
    while run.poll() is None and not (journal.exists() and records(journal)):
        time.sleep(0.05)
    time.sleep(after)
    found = kill(run, victim)
    output, _ = run.communicate()
    if found and victim == "driver":
        wait_until_gone(run.pid)
        again = subprocess.run(command, capture_output=True, check=False)
        output, run.returncode = again.stdout + again.stderr, again.returncode
    if run.returncode:
        raise SystemExit(f"{folder} failed:\n{output.decode()[-3000:]}")
    return found


def kill(run: subprocess.Popen, victim: str) -> bool:
    """SIGKILL to the driver, or to the first of its descendants with the title of the victim;
    whether there was one.
    """
    if run.poll() is not None:
        return False
    if victim == "driver":
        run.kill()
        return True
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if any(part.startswith(TITLES[victim]) for part in process.cmdline()):
                process.send_signal(signal.SIGKILL)
                return True
        except psutil.Error:
            continue  # ended meanwhile
    return False


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
