"""Time of an epoch on 1, 2 and 4 workers, a model of it, and what the model says of more.

A training on Ray Train of one thread a worker is timed with small and with large batches; medians
of epochs count. The model (lightpfp_ray/scaling.py) has five constants, the costs of an epoch, of a
step, of an edge, of a message, and of the turn of a worker that shares its processor, which are
fitted to all that was measured; the differences are printed. A message costs what the slower worker
is waited for, too. The extrapolation assumes what the table's head says of the network,
structures as those of the data, and shares of a batch of equal cost but for what the rule of
balance leaves.

    python -m benchmarks.scaling --data configs/sample/alloy.extxyz
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median, quantiles

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

from .pieces import Pieces, add_options

WORKERS = (1, 2, 4)
BATCHES = (16, 48, 144)
EPOCHS = 28
WARM = 3
"""Epochs that are not counted."""

CLUSTER = Network(latency_s=0.1e-3, bytes_per_s=1e9)
"""Of the extrapolation: 0.1 ms a message and 1 GB/s, a usual Ethernet of 10 Gbit/s."""

WITHIN = 0.2
"""Largest difference between model and measurement that is called good."""

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
    noise: float  # its spread, relative


def main() -> None:
    options = arguments()
    pieces = Pieces(options)
    os.environ.setdefault("RAY_OVERRIDE_RESOURCES", f'{{"CPU": {max(WORKERS)}}}')
    output = OutputFolder(pieces.folder / "prepared")
    control = control_of(options.levmax, 128, 1)
    with ray_session("local", verbose=False) as session:
        manifest = prepared(control, Request(tuple(options.data), (), output.path), output)
        sets = opened_sets(manifest)

        def timed(workers: int, batch_size: int, folder: Path) -> dict:
            of_case = control_of(options.levmax, batch_size, EPOCHS)
            job = job_of(of_case, manifest, sets["train"], OutputFolder(folder), None)
            fit(job, Resources(workers, 1, "cpu"), session, folder / ".ray")
            return {"seconds": epochs(job.journal), "parameters": parameters(job.potential)}

        cases = []
        for workers, batch_size in product(WORKERS, BATCHES):
            name = f"{workers}-{batch_size}"
            found = pieces.piece(name, partial(timed, workers, batch_size))
            cases.append(case(sets, workers, batch_size, found["seconds"]))
    costs, network = fitted(cases, found["parameters"])
    good = tell_fit(costs, network, cases, found["parameters"], options.levmax)
    tell_balance()
    tell_more(costs, sets, found["parameters"])
    sys.exit(not good)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--levmax", type=int, default=16, help="with the costs 2, 4, 1")
    add_options(parser, "scaling")
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
            "lightpfp_ray": {"starts": 1},
        }
    )


def epochs(journal: Path) -> list[float]:
    """Seconds of each but the first."""
    return [r["seconds"] for r in records(journal) if r["type"] == "epoch"][WARM:]


def parameters(potential: Path) -> int:
    from lightpfp_ray.potential import load

    return sum(p.numel() for p in load(potential).model.parameters())


def case(sets: dict, workers: int, batch_size: int, seconds: list[float]) -> Case:
    train, test = sets["train"], sets["test"]
    shares = largest_shares(batches(len(train), batch_size), train.counts.n_edges, workers)
    return Case(
        workers,
        batch_size,
        n_batches(len(train), batch_size),
        shares + forward_part(float(test.counts.n_edges.sum())) / workers,
        median(seconds),
        spread(seconds),
    )


def spread(seconds: list[float]) -> float:
    """Half of the range of the middle half, by the median: what the noise of an epoch is."""
    low, middle, high = quantiles(seconds, n=4)
    return (high - low) / 2 / middle


def forward_part(n_edges: float) -> float:
    """Edges of the test set, which are evaluated without a gradient: about 0.4 of an update."""
    return 0.4 * n_edges


def batches(n_structures: int, batch_size: int) -> list[np.ndarray]:
    order = permutation(n_structures, 0, 1)
    return [order[i : i + batch_size] for i in range(0, n_structures, batch_size)]


def fitted(cases: list[Case], n_parameters: int) -> tuple[Costs, Network]:
    """The constants, by least squares of the relative differences, none below 0."""
    from scipy.optimize import nnls

    rows = []
    for c in cases:
        k = max(1.0, c.workers / cores())
        rounds = math.ceil(math.log2(c.workers))
        rows.append([k, k * c.n_steps, k * c.shares, c.n_steps * rounds, (k - 1) * c.n_steps])
    sent = Network(latency_s=0.0)
    moved = [c.n_steps * sent.all_reduce_s(c.workers, n_parameters) for c in cases]
    seconds = np.array([c.seconds for c in cases])
    scale = np.maximum(np.max(rows, axis=0), 1e-300)  # no worker may share a processor
    found, _ = nnls(rows / scale / seconds[:, None], (seconds - moved) / seconds)
    fixed_s, step_s, edge_s, latency_s, turn_s = (found / scale).tolist()
    return Costs(step_s, edge_s, fixed_s), Network(latency_s, turn_s=turn_s)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def tell_fit(
    costs: Costs, network: Network, cases: list[Case], n_parameters: int, levmax: int
) -> bool:
    """Prints constants and differences; whether all of these are small."""
    print(
        f"\nlevel {levmax}, {n_parameters} parameters, {cores()} processors: an epoch costs "
        f"{1e3 * costs.fixed_s:.1f} ms, a step {1e3 * costs.step_s:.2f} ms, an edge "
        f"{1e6 * costs.edge_s:.3f} us, an all-reduce of two "
        f"{1e3 * network.all_reduce_s(2, n_parameters):.2f} ms,\na turn of two on one processor "
        f"{1e3 * network.turn_s:.2f} ms; medians of {EPOCHS - WARM} epochs\n"
    )
    print(
        f"{'workers':>7}{'batch':>7}{'measured s':>12}{'noise':>8}{'model s':>9}{'difference':>12}"
    )
    differences = []
    for c in cases:
        said = epoch_s(costs, network, c.n_steps, c.shares, c.workers, n_parameters, cores())
        differences.append(said / c.seconds - 1)
        print(
            f"{c.workers:7}{c.batch_size:7}{c.seconds:12.3f}{c.noise:8.0%}{said:9.3f}"
            f"{differences[-1]:12.0%}"
        )
    largest = max(map(abs, differences))
    print(f"largest difference {largest:.0%}, wanted at most {WITHIN:.0%}")
    return largest <= WITHIN


def tell_balance() -> None:
    """The largest share of 8 workers against the mean, on structures of 2 to 500 atoms."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(math.log(2), math.log(500), 10_000)).round()
    print(
        "\n8 workers, 10000 structures of 2 to 500 atoms: the slowest above the mean. At batch 32 "
        "a worker\nhas 4 structures, and a large one alone can be above the mean: no rule shares "
        "them evenly"
    )
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
