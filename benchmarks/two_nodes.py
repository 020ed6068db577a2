"""A training over two nodes of a Ray cluster, one of which is killed: it goes on with the other.

Both nodes are processes of this machine. The potential is compared with that of a run on one
worker, and the journal is looked through for gaps and doubles.

    python benchmarks/two_nodes.py --data configs/sample/alloy.extxyz
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

from lightpfp_ray import load
from lightpfp_ray.journal import records

CONTROL = {
    "common_config": {"total_epoch": 240, "batch_size": 64},
    "mtp_config": {"levmax": 6, "rc": 4.5, "n_q": 6},
    "lightpfp_ray": {"checkpoint_interval_s": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    data = parser.parse_args().data
    folder = Path(tempfile.mkdtemp(prefix="two-nodes-"))
    control = folder / "control.json"
    control.write_text(json.dumps(CONTROL))
    command = [sys.executable, "-m", "lightpfp_ray.cli", "train", str(control), "--data", *data]
    command += ["--cpus-per-worker", "1", "--cache", str(folder / "cache"), "--output"]
    os.environ["RAY_AUTH_MODE"] = "disabled"
    calm = [*command, str(folder / "calm"), "--workers", "1", "--address", "local"]
    subprocess.run(calm, check=True, capture_output=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    disturbed = [*command, str(folder / "disturbed"), "--workers", "2"]
    run = subprocess.Popen([*disturbed, "--address", cluster.address])
    wait_for_epoch(folder / "disturbed" / "journal.jsonl", 20)
    cluster.remove_node(second, allow_graceful=False)
    print(f"{time.strftime('%X')} the second node is gone")
    code = run.wait()
    cluster.shutdown()
    good = not code and compare(folder / "calm", folder / "disturbed")
    sys.exit(not good)


def wait_for_epoch(journal: Path, epoch: int) -> None:
    while sum(record["type"] == "epoch" for record in records(journal)) < epoch:
        time.sleep(0.1)


def compare(calm: Path, disturbed: Path) -> bool:
    """Prints how far the two potentials are from each other, and whether each epoch is there."""
    first, second = (
        torch.cat([p.detach().reshape(-1) for p in load(f).model.parameters()])
        for f in (calm, disturbed)
    )
    difference = float((first - second).abs().max() / first.abs().max())
    steps = [r["step"] for r in records(disturbed / "journal.jsonl") if r["type"] == "epoch"]
    whole = steps == list(range(1, CONTROL["common_config"]["total_epoch"] + 1))
    print(f"largest relative difference of a parameter {difference:.1e}, journal whole: {whole}")
    return difference < 1e-6 and whole


if __name__ == "__main__":
    main()
