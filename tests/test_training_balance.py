"""Shares of a batch: everything once, the same on every worker, about the same cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpfp_ray.training.balance import balanced, imbalance


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 9), st.randoms())
def test_every_structure_is_on_one_worker_in_the_order_of_the_batch(sizes, workers, chance):
    costs = np.array(sizes, float)
    batch = np.array(chance.sample(range(len(sizes)), len(sizes)), int)
    shares = balanced(batch, costs, workers)
    assert len(shares) == workers
    assert sorted(np.concatenate(shares).tolist()) == sorted(batch.tolist())
    place = {index: n for n, index in enumerate(batch.tolist())}
    assert all([place[i] for i in s] == sorted(place[i] for i in s) for s in shares)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 9))
def test_the_slowest_has_at_most_the_mean_and_the_dearest_structure(sizes, workers):
    costs = np.array(sizes, float)
    loads = [costs[s].sum() for s in balanced(np.arange(len(sizes)), costs, workers)]
    assert max(loads) <= costs.sum() / workers + costs.max()


def test_one_worker_has_the_batch_as_it_is():
    batch = np.array([4, 1, 3])
    assert balanced(batch, np.ones(5), 1)[0] is batch


def test_shares_do_not_depend_on_the_structures_outside_the_batch():
    costs = np.array([5.0, 3, 8, 1, 9, 2])
    batch = np.array([4, 0, 3, 1])
    others = costs.copy()
    others[[2, 5]] = 1000
    for a, b in zip(balanced(batch, costs, 2), balanced(batch, others, 2), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("batch_size", [128, 256])
def test_eight_workers_wait_little_for_structures_of_2_to_500_atoms(batch_size):
    rng = np.random.default_rng(0)
    costs = np.exp(rng.uniform(np.log(2), np.log(500), 4000)).round()
    batches = rng.permutation(4000)[: 4000 // batch_size * batch_size].reshape(-1, batch_size)
    found = [imbalance(balanced(batch, costs, 8), costs) for batch in batches]
    by_turns = [imbalance([b[rank::8] for rank in range(8)], costs) for b in batches]
    assert np.mean(found) < max(found) < 0.05
    assert np.mean(by_turns) > 0.25
