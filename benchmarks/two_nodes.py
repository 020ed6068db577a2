"""A training over two nodes of a Ray cluster, one of which is not as it should be.

killed: the second node is killed. The run goes on with the first.
drained: the second node is drained, as Ray does it where a cloud takes a machine back: it says when
    the node will be gone, and then it is. The run goes on with the first.
hidden_folder: the second node sees another folder, an empty one, where --output lies. The run is
    refused in one line before it begins, and what an earlier start left there stays as it was.

Both nodes are processes of this machine; the hidden folder is a tmpfs in a mount namespace of the
second one (`unshare --mount`). In the first two cases the potential is compared with that of a run
on one worker, and the journal is looked through for gaps and doubles.

    python -m benchmarks.two_nodes --data configs/sample/alloy.extxyz --case drained
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster

from lightpfp_ray import load
from lightpfp_ray.journal import records

CONTROL = {
    "common_config": {"total_epoch": 240, "batch_size": 64},
    "mtp_config": {"levmax": 6, "rc": 4.5, "n_q": 6},
    "lightpfp_ray": {"checkpoint_interval_s": 1.0},
}

AT_EPOCH = 20
"""Of all, when the second node meets its fate."""

NOTICE_S = 10
"""Between the word that a node will be gone, and its end."""

START_S = 60
"""How long a node has to join."""


@dataclass(frozen=True)
class Bench:
    """Where the runs of one case are, and how they are begun."""

    folder: Path
    data: list[str]

    @property
    def outputs(self) -> Path:
        return self.folder / "shared"

    def command(self, name: str, workers: int, address: str) -> list[str]:
        command = [sys.executable, "-m", "lightpfp_ray.cli", "train"]
        command += [str(self.folder / "control.json"), "--data", *self.data]
        command += ["--cpus-per-worker", "1", "--cache", str(self.folder / "cache")]
        command += ["--output", str(self.outputs / name), "--workers", str(workers)]
        return [*command, "--address", address]

    def begin(self, name: str, workers: int, address: str) -> subprocess.Popen:
        """A training, once it has ended some epochs."""
        command = self.command(name, workers, address)
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while run.poll() is None and epochs(self.outputs / name) < AT_EPOCH:
            time.sleep(0.1)
        return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    good = []
    for name in options.case:
        folder = Path(tempfile.mkdtemp(prefix="two-nodes-"))
        (folder / "shared").mkdir()
        (folder / "control.json").write_text(json.dumps(CONTROL))
        print(f"{name}, in {folder}", flush=True)
        good.append(CASES[name](Bench(folder, options.data)))
        print("as it should be\n" if good[-1] else "WRONG\n", flush=True)
    sys.exit(not all(good))


def killed(bench: Bench) -> bool:
    calm(bench)
    with one_node() as cluster:
        second = cluster.add_node(num_cpus=1)
        run = bench.begin("disturbed", 2, cluster.address)
        cluster.remove_node(second, allow_graceful=False)
        print(f"{time.strftime('%X')} the second node is gone")
        return ended(run) and equal(bench)


def drained(bench: Bench) -> bool:
    calm(bench)
    with one_node() as cluster:
        second = cluster.add_node(num_cpus=1)
        run = bench.begin("disturbed", 2, cluster.address)
        drain(cluster.address, second.node_id)
        print(f"{time.strftime('%X')} the second node has {NOTICE_S} s left", flush=True)
        time.sleep(NOTICE_S)
        cluster.remove_node(second, allow_graceful=False)  # where it is still there
        print(f"{time.strftime('%X')} the second node is gone", flush=True)
        return ended(run) and equal(bench)


def hidden_folder(bench: Bench) -> bool:
    cut_off = bench.begin("disturbed", 1, "local")
    cut_off.terminate()  # its processes end with it
    cut_off.communicate()
    before = contents(bench.outputs)
    n_checkpoints = sum(name.endswith(".pt") for name in before)
    with one_node() as cluster, node_without(bench.outputs, cluster.address):
        began = time.monotonic()
        command = bench.command("disturbed", 2, cluster.address)
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
    said = run.stdout + run.stderr
    print(said.strip())
    intact = contents(bench.outputs) == before
    print(
        f"exit code {run.returncode} after {seconds:.0f} s; {n_checkpoints} checkpoints and all "
        f"else in the folder as before: {intact}"
    )
    return bool(run.returncode) and len(said.strip().splitlines()) == 1 and intact


CASES = {"killed": killed, "drained": drained, "hidden_folder": hidden_folder}


def calm(bench: Bench) -> None:
    subprocess.run(bench.command("calm", 1, "local"), check=True, capture_output=True)


@contextmanager
def one_node() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def node_without(folder: Path, address: str) -> Iterator[None]:
    """A second node of one CPU, to which a folder is an empty one of its own."""
    start = f"ray start --address={address} --num-cpus=1 --block"
    script = f"mount -t tmpfs none '{folder}' && exec {Path(sys.executable).parent}/{start}"
    as_root = [] if os.getuid() == 0 else ["--map-root-user"]
    node = subprocess.Popen(
        ["unshare", "--mount", *as_root, "sh", "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_nodes(address, 2)
        yield
    finally:
        node.terminate()
        node.wait()


def wait_for_nodes(address: str, n: int) -> None:
    deadline = time.monotonic() + START_S
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    while sum(node["Alive"] for node in ray.nodes()) < n:
        if time.monotonic() > deadline:
            raise SystemExit("the second node does not join")
        time.sleep(0.2)
    ray.shutdown()


def drain(address: str, node_id: str) -> None:
    """Tell Ray that a node will be taken away, as its autoscaler does."""
    command = [str(Path(sys.executable).parent / "ray"), "drain-node", "--address", address]
    command += ["--node-id", node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "the cloud takes it back"]
    command += ["--deadline-remaining-seconds", str(NOTICE_S)]
    subprocess.run(command, check=True, capture_output=True)


def ended(run: subprocess.Popen) -> bool:
    """Waits for the end of a training, and prints what it said of losses or of its failure."""
    said, _ = run.communicate()
    if run.returncode:
        print(said[-3000:])
    print("".join(line for line in said.splitlines(keepends=True) if line.startswith("note")))
    return run.returncode == 0


def epochs(output: Path) -> int:
    return sum(record["type"] == "epoch" for record in records(output / "journal.jsonl"))


def equal(bench: Bench) -> bool:
    """Prints how far the two potentials are from each other, and whether each epoch is there."""
    calm, disturbed = bench.outputs / "calm", bench.outputs / "disturbed"
    first, second = (
        torch.cat([p.detach().reshape(-1) for p in load(f).model.parameters()])
        for f in (calm, disturbed)
    )
    difference = float((first - second).abs().max() / first.abs().max())
    steps = [r["step"] for r in records(disturbed / "journal.jsonl") if r["type"] == "epoch"]
    whole = steps == list(range(1, CONTROL["common_config"]["total_epoch"] + 1))
    print(f"largest relative difference of a parameter {difference:.1e}, journal whole: {whole}")
    return difference < 1e-6 and whole


def contents(folder: Path) -> dict[str, str]:
    """A fingerprint of every file below a folder."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


if __name__ == "__main__":
    main()
