"""What a forecast says follows from what was measured; the epochs it chooses fit the budget."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lightpfp_ray.budget import Around, chosen_before, seconds_of
from lightpfp_ray.cli.forecast import _lines
from lightpfp_ray.config import ControlFile
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.errors import UserError
from lightpfp_ray.forecast import (
    SHORT,
    STARTS,
    Forecast,
    fitting_epochs,
    forecast,
    search_s,
    search_work,
)
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.preflight import opened_sets
from lightpfp_ray.run import job_of
from lightpfp_ray.scaling import Costs, Network, epoch_s, largest_shares
from lightpfp_ray.training.search import ROUNDS

from .data_samples import metals, prepared, written

CONTROL = ControlFile.model_validate(
    {
        "common_config": {"total_epoch": 8, "batch_size": 4},
        "mtp_config": {"rc": 4.0, "levmax": 4, "n_q": 4},
        "lightpfp_ray": {"starts": 1, "polish_epochs": 2},
    }
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    path = written(folder / "a.xyz", metals(9, seed=6))
    manifest = prepared(folder / "cache", path, 4.0, test_fraction=0.3)
    manifest.save()
    return manifest


@pytest.fixture(scope="module")
def known(manifest):
    """Of round costs: 10 ms a step, 1 us an edge, 2 s around the epochs."""
    train = StructureSet.open(manifest.path, "train")
    stages = tuple(s for s in CONTROL.stages if s.epochs)
    return Forecast(
        stages=stages,
        costs={stage.name: Costs(0.01, 1e-6) for stage in stages},
        search_s=1.0,
        between=Costs(1.0, 0.0),
        results=Costs(3.0, 0.0),
        train=train,
        n_edges=int(train.counts.n_edges.sum()),
        batch_size=4,
        n_parameters=100,
        n_basis=10,
        us_per_atom=2.0,
        peak_bytes=0,
        network=Network(0.0, np.inf),
    )


def test_costs_are_found_again_from_the_times_they_make():
    wanted = Costs(0.003, 2e-6)
    steps, edges = [4, 4, 30], [1e4, 4e4, 5e5]
    seconds = [wanted.epoch_s(s, e) for s, e in zip(steps, edges, strict=True)]
    found = Costs.fitted(steps, edges, seconds)
    assert (found.step_s, found.edge_s) == pytest.approx((0.003, 2e-6), rel=1e-6)


def test_no_cost_is_negative():
    found = Costs.fitted([4, 4], [1e4, 4e4], [0.02, 0.01])
    assert found.step_s >= 0
    assert found.edge_s == 0


def test_the_whole_is_the_sum_of_its_parts(known):
    epochs = sum(stage.epochs for stage in known.stages)
    one = known.n_steps * 0.01 + known.n_edges * 1e-6
    assert known.epoch_s("stage_1") == pytest.approx(one)
    assert known.total_s() == pytest.approx(1 + 1 + epochs * one)


def test_the_time_of_a_command_is_that_of_its_parts(known, manifest):
    around = Around.of(start_s=7.0, process_s=2.0)
    lines = _lines(known, around, manifest, [1])
    row = next(line for line in lines if line.startswith("train, from start to exit"))
    whole = known.total_s() + known.results_s + around.seconds
    assert row.split()[-2:] == [f"{whole:.0f}", "s"]
    assert around.seconds > 7.0
    assert f"{7.0:.2f} s for Ray" in lines[-3]


def test_a_polish_that_may_end_early_makes_a_range_of_times(known, manifest):
    polish = replace(known.stages[-1], epochs=60)
    assert polish.ends_by_itself
    long = replace(known, stages=(*known.stages[:-1], polish))
    assert [s.epochs for s in long.shortest] == [s.epochs for s in long.stages[:-1]] + [6]
    rows = _lines(long, Around(0.0, 0.0, 0.0), manifest, [1])
    told = [line.split("  ")[0] for line in rows if line.startswith("whole")]
    assert told == ["whole training, at least", "whole training, at most"]


def test_more_workers_share_the_edges_but_not_the_steps(known):
    of_steps = known.n_steps * 0.01
    alone, two = (known.epoch_s("stage_1", n) - of_steps for n in (1, 2))
    assert alone / 2 <= two < alone


def test_all_reduce_is_paid_by_more_than_one_worker():
    """Rounds in pairs, two more where the workers are no power of two; of a long vector halves."""
    network = Network(latency_s=1e-3, bytes_per_s=8e6)
    assert network.all_reduce_s(1, 1000) == 0
    assert network.all_reduce_s(4, 1000) == pytest.approx(2 * (1e-3 + 1e-3))
    assert network.all_reduce_s(7, 1000) == pytest.approx(4 * (1e-3 + 1e-3))
    assert network.all_reduce_s(4, 100_000) == pytest.approx(2e-3 + 1.5 * 0.1)


def test_workers_beyond_the_cores_slow_each_other_down():
    shares = largest_shares([np.arange(8)], np.full(8, 100.0), 4)
    assert shares == 200
    args = (Costs(0.0, 1e-3), Network(), 1, shares, 4, 0)
    assert epoch_s(*args, cores=2) - epoch_s(*args) == pytest.approx(0.2)


def test_workers_that_share_a_processor_wait_for_their_turn_at_every_step():
    costs, waiting = Costs(0.0, 0.0), Network(0.0, np.inf, turn_s=5e-3)
    assert epoch_s(costs, waiting, 10, 0.0, 4, 0, cores=2) == pytest.approx(10 * 5e-3)
    assert epoch_s(costs, waiting, 10, 0.0, 2, 0, cores=2) == 0


def test_what_an_epoch_costs_whatever_its_size_is_paid_once():
    costs = Costs(0.01, 1e-6, fixed_s=0.5)
    assert costs.epoch_s(3, 1e6) == pytest.approx(0.5 + 0.03 + 1.0)


@pytest.mark.parametrize("known", [0, 1])
def test_a_search_of_more_starts_in_a_larger_set_follows_from_small_ones(known):
    wanted = Costs(1e-3, 2e-4)  # an iteration, and each structure of it
    sizes = (64, 256)
    probed = [wanted.epoch_s(*search_work(STARTS + known, n, SHORT)) for n in sizes]
    expected = wanted.epoch_s(*search_work(8 + known, 10_000, ROUNDS))
    assert search_s(8, 10_000, sizes, probed, known) == pytest.approx(expected, rel=1e-6)
    assert search_s(1, 10_000, sizes, [0.0, 0.0]) == 0


def test_a_training_that_begins_at_a_network_has_no_polish(manifest, tmp_path):
    train, name = StructureSet.open(manifest.path, "train"), "ALL_ELEMENTS_SMALL_NN_6"
    of = CONTROL.model_dump(exclude_unset=True) | {"mtp_config": {"pretrained_model": name}}
    control = ControlFile.model_validate(of)
    assert control.stages[-1].name == "polish"
    job = job_of(control, manifest, train, OutputFolder(tmp_path), name)
    assert [s.name for s in job.plan.stages] == ["stage_1", "stage_2", "calibration"]
    projected = ControlFile.model_validate(of | {"lightpfp_ray": {"optimizer": "varpro"}})
    with pytest.raises(UserError, match=r"start from has a network \[64, 64\]"):
        job_of(projected, manifest, train, OutputFolder(tmp_path), name)


@pytest.mark.parametrize("budget", [3.0, 10.0, 100.0])
def test_the_epochs_fit_the_budget_and_one_more_does_not(known, budget):
    chosen = fitting_epochs(known, CONTROL, budget, 1)

    def seconds(total):
        stages = CONTROL.with_total_epoch(total).stages
        return known.total_s(1, [stage for stage in stages if stage.epochs])

    assert seconds(chosen) <= budget < seconds(chosen + 1)


def test_a_training_is_measured(manifest, tmp_path):
    sets = opened_sets(manifest)
    job = job_of(CONTROL, manifest, sets["train"], OutputFolder(tmp_path / "run"), None)
    found = forecast(job, manifest, sets)
    assert set(found.costs) == {stage.name for stage in CONTROL.stages}
    assert found.total_s() > 0
    assert found.us_per_atom > 0
    assert found.n_basis == 4
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_keeps_the_epochs_it_began_with(tmp_path):
    output = OutputFolder(tmp_path / "run")
    assert chosen_before(CONTROL, output) is None
    chosen = CONTROL.with_total_epoch(77)
    output.begin(chosen.resolved(), {})
    again = chosen_before(CONTROL.with_total_epoch(5), output)
    assert again.resolved() == json.loads(output.control.read_text())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5 h", 5400), ("2d", 172800)]
)
def test_times_as_people_write_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0s", "-3m", "1 fortnight"])
def test_other_times_are_refused(text):
    with pytest.raises(UserError, match="expected a time"):
        seconds_of(text)
