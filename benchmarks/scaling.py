"""Time of an epoch on 1, 2 and 4 workers, a model of it, and what the model says of more.

A training on Ray Train of one thread a worker is timed with small and with large batches. The model
(lightpfp_ray/scaling.py) has three constants, the costs of a step, of an edge and of a message,
which are fitted to all that was measured; the differences are printed. More workers than
processors share them. The extrapolation assumes what the table's head says of the network,
structures as those of the data, and shares of a batch of equal cost but for what the rule of
balance leaves.

    python benchmarks/scaling.py --data configs/sample/alloy.extxyz
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from lightpfp_ray.cluster.session import Resources, ray_session
from lightpfp_ray.cluster.trainer import fit
from lightpfp_ray.config import ControlFile
from lightpfp_ray.journal import records
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.preflight import opened_sets
from lightpfp_ray.run import Request, job_of, prepared
from lightpfp_ray.scaling import Costs, Network, epoch_s, largest_shares
from lightpfp_ray.training.balance import balanced, imbalance
from lightpfp_ray.training.batches import n_batches, permutation

WORKERS = (1, 2, 4)
BATCHES = (16, 128)
EPOCHS = 12
WARM = 2
"""Epochs that are not counted."""

CLUSTER = Network(latency_s=0.1e-3, bytes_per_s=1e9)
"""Of the extrapolation: 0.1 ms a message and 1 GB/s, a usual Ethernet of 10 Gbit/s."""

MANY = (1, 2, 4, 8, 16, 32, 64)
SIZES = (10**4, 10**5, 10**6, 10**7)


@dataclass(frozen=True)
class Case:
    """One measured training."""

    workers: int
    batch_size: int
    n_steps: int
    shares: float  # edges of the largest share, summed over an epoch, and the test set's part
    seconds: float  # of an epoch


def main() -> None:
    options = arguments()
    os.environ.setdefault("RAY_OVERRIDE_RESOURCES", '{"CPU": 4}')
    with tempfile.TemporaryDirectory(prefix="scaling-") as scratch:
        folder = Path(scratch)
        output = OutputFolder(folder / "prepared")
        control = control_of(options.levmax, 128, 1)
        with ray_session("local", verbose=False) as session:
            manifest = prepared(control, Request(tuple(options.data), (), output.path), output)
            sets = opened_sets(manifest)
            cases = []
            for workers in WORKERS:
                for batch_size in BATCHES:
                    at = folder / f"{workers}-{batch_size}"
                    job = job_of(
                        control_of(options.levmax, batch_size, EPOCHS),
                        manifest,
                        sets["train"],
                        OutputFolder(at),
                        None,
                    )
                    at.mkdir()
                    fit(job, Resources(workers, 1, "cpu"), session, at / ".ray")
                    cases.append(case(sets, workers, batch_size, median_epoch(job.journal)))
        n_parameters = parameters(job.potential)
    costs, network = fitted(cases, n_parameters)
    tell_fit(costs, network, cases, n_parameters, options.levmax)
    tell_balance()
    tell_more(costs, sets, n_parameters)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--levmax", type=int, default=16, help="with the costs 2, 4, 1")
    return parser.parse_args()


def control_of(levmax: int, batch_size: int, epochs: int) -> ControlFile:
    """One stage, in which every epoch is like the others."""
    return ControlFile.model_validate(
        {
            "common_config": {"batch_size": batch_size, "lr_scheduling": "None"},
            "mtp_config": {"rc": 5.0, "levmax": levmax, "moment_mu_cost": 4},
            "multistage_config": {
                "lr_list": [1e-3],
                "epoch_list": [epochs],
                "energy_loss_coeff_list": [1.0],
                "forces_loss_coeff_list": [0.1],
                "stress_loss_coeff_list": [1.0],
                "loss_func_list": ["mse"],
                "use_calib_stage": False,
            },
        }
    )


def median_epoch(journal: Path) -> float:
    return median(r["seconds"] for r in records(journal)[WARM:] if r["type"] == "epoch")


def parameters(potential: Path) -> int:
    from lightpfp_ray.potential import load

    return sum(p.numel() for p in load(potential).model.parameters())


def case(sets: dict, workers: int, batch_size: int, seconds: float) -> Case:
    train, test = sets["train"], sets["test"]
    shares = largest_shares(batches(len(train), batch_size), train.counts.n_edges, workers)
    return Case(
        workers,
        batch_size,
        n_batches(len(train), batch_size),
        shares + forward_part(float(test.counts.n_edges.sum())) / workers,
        seconds,
    )


def forward_part(n_edges: float) -> float:
    """Edges of the test set, which are evaluated without a gradient: about 0.4 of an update."""
    return 0.4 * n_edges


def batches(n_structures: int, batch_size: int) -> list[np.ndarray]:
    order = permutation(n_structures, 0, 1)
    return [order[i : i + batch_size] for i in range(0, n_structures, batch_size)]


def fitted(cases: list[Case], n_parameters: int) -> tuple[Costs, Network]:
    """Step, edge and latency of least squares of the relative differences, none below 0."""
    from scipy.optimize import nnls

    sent = Network(latency_s=0.0)
    rows = []
    for c in cases:
        crowding = max(1.0, c.workers / cores())
        rounds = math.ceil(math.log2(c.workers))
        rows.append([c.n_steps * crowding, c.shares * crowding, c.n_steps * rounds])
    moved = [c.n_steps * sent.all_reduce_s(c.workers, n_parameters) for c in cases]
    seconds = np.array([c.seconds for c in cases])
    scale = np.max(rows, axis=0)
    found, _ = nnls(rows / scale / seconds[:, None], (seconds - moved) / seconds)
    step_s, edge_s, latency_s = (found / scale).tolist()
    return Costs(step_s, edge_s), Network(latency_s)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def tell_fit(
    costs: Costs, network: Network, cases: list[Case], n_parameters: int, levmax: int
) -> None:
    print(
        f"\nlevel {levmax}, {n_parameters} parameters, {cores()} processors: a step costs "
        f"{1e3 * costs.step_s:.2f} ms + {1e6 * costs.edge_s:.3f} us an edge, all-reduce of two "
        f"{1e3 * network.all_reduce_s(2, n_parameters):.2f} ms\n"
    )
    print(f"{'workers':>7}{'batch':>7}{'measured s':>12}{'model s':>9}{'difference':>12}")
    for c in cases:
        said = epoch_s(costs, network, c.n_steps, c.shares, c.workers, n_parameters, cores())
        print(
            f"{c.workers:7}{c.batch_size:7}{c.seconds:12.3f}{said:9.3f}"
            f"{100 * (said / c.seconds - 1):11.0f}%"
        )


def tell_balance() -> None:
    """The largest share of 8 workers against the mean, on structures of 2 to 500 atoms."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(math.log(2), math.log(500), 10_000)).round()
    print("\n8 workers, 10000 structures of 2 to 500 atoms: the slowest above the mean")
    print(f"{'batch':>7}{'by turns':>10}{'by cost':>9}")
    for batch_size in (32, 128, 512):
        drawn = batches(len(sizes), batch_size)
        turns = [imbalance([b[rank::8] for rank in range(8)], sizes) for b in drawn]
        by_cost = [imbalance(balanced(b, sizes, 8), sizes) for b in drawn]
        print(f"{batch_size:7}{100 * np.mean(turns):9.1f}%{100 * np.mean(by_cost):8.1f}%")


def tell_more(costs: Costs, sets: dict, n_parameters: int) -> None:
    """Epochs of larger sets on more workers, each with a processor of its own."""
    edges = sets["train"].counts.n_edges
    print(
        f"\nan epoch on a cluster of {1e3 * CLUSTER.latency_s:g} ms a message and "
        f"{CLUSTER.bytes_per_s / 1e9:g} GB/s (in brackets: speed-up); {edges.mean():.0f} edges a "
        "structure"
    )
    for batch_size in (128, 1024):
        print(f"\nbatch {batch_size:5}" + "".join(f"{f'{n} workers':>16}" for n in MANY))
        drawn = batches(len(edges), min(batch_size, len(edges)))
        for size in SIZES:
            row = []
            for n in MANY:
                shares = size / len(edges) * largest_shares(drawn, edges, n)
                steps = n_batches(size, batch_size)
                row.append(epoch_s(costs, CLUSTER, steps, shares, n, n_parameters))
            cells = (f"{f'{t:.1f} s ({row[0] / t:.1f})':>16}" for t in row)
            print(f"{size:11}" + "".join(cells))


if __name__ == "__main__":
    main()
