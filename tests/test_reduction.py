"""Sums over processes: against the sum in one, the same bits on each."""

import multiprocessing

import pytest
import torch

from lightpfp_ray.training.reduction import LONG, sum_over_processes

LENGTHS = (1, 50, LONG + 1)


def vectors(rank):
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(n, dtype=torch.float64, generator=generator) for n in LENGTHS]


def work(rank, size, store, results):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size
    )
    results.put([sum_over_processes(own).tolist() for own in vectors(rank)])
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [2, 5])
def test_every_process_holds_the_same_sum(size, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [
        spawn.Process(target=work, args=(rank, size, tmp_path / "store", results))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert all(each == found[0] for each in found)
    expected = [sum(of_all) for of_all in zip(*map(vectors, range(size)), strict=True)]
    for sum_, right in zip(found[0], expected, strict=True):
        torch.testing.assert_close(torch.tensor(sum_, dtype=torch.float64), right)
