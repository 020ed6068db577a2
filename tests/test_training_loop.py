"""The loop: two workers give the parameters of one, and an interrupted run those of an undisturbed
one.
"""

import threading
from dataclasses import replace

import pytest
import torch

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.errors import UserError
from lightpfp_ray.training import checkpoint, gauss_newton, steepness
from lightpfp_ray.training.batches import WeightedSet
from lightpfp_ray.training.checkpoint import Progress
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.linear import solve_reference_energies
from lightpfp_ray.training.loss import LABELS

from .data_samples import metals
from .training_samples import (
    STAGES,
    InMemory,
    ListJournal,
    Stage,
    committee,
    model_of,
    noise,
    parameters,
    sets,
    trained,
)

VARPRO = {
    "stages": (
        Stage("stage_1", 6, 0.1, 1.0, 0.1, 10.0, optimizer="varpro"),
        Stage("stage_2", 3, 0.1, 2.0, 0.1, 10.0, optimizer="varpro"),
    ),
}


POLISHED = {
    "stages": (
        Stage("stage_1", 4, 0.1, 1.0, 0.1, 10.0),
        Stage("polish", 5, 0.0, 1.0, 0.1, 10.0, optimizer="varpro"),
    ),
}

COMMITTEE = {"widths": (4,), "stages": committee(2), "members": 2}


@pytest.fixture(autouse=True)
def _few_gradients(monkeypatch):
    """Coordinates need not be good for what is tested here."""
    monkeypatch.setattr(steepness, "GRADIENTS", 32)
    monkeypatch.setattr(gauss_newton, "ROWS", 1)


class Sum:
    """An all-reduce of threads."""

    def __init__(self, n):
        self.parts, self.barrier = [None] * n, threading.Barrier(n)

    def __call__(self, rank, flat):
        self.parts[rank] = flat
        self.barrier.wait(60)
        total = sum(self.parts[1:], self.parts[0].clone())
        self.barrier.wait(60)
        return total


class ThreadContext(LocalContext):
    def over(self, all_reduce):
        object.__setattr__(self, "all_reduce", all_reduce)
        return self

    def sum_over_workers(self, flat):
        return self.all_reduce(self.rank, flat)


def trained_by(n_workers, folder, structures, **changes):
    """Potentials of all workers, and what they say of the test set at the end."""
    all_reduce, found = Sum(n_workers), [None] * n_workers

    def work(rank):
        context = ThreadContext(rank=rank, world_size=n_workers).over(all_reduce)
        journal = ListJournal()
        model = trained(folder, structures, journal, context, **changes)
        found[rank] = parameters(model), journal.records

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [model for model, _ in found], found[0][1][-1]["test"]


@pytest.mark.parametrize(("n_workers", "n_train"), [(2, 7), (3, 8)])
def test_workers_together_give_the_parameters_of_one(tmp_path, n_workers, n_train):
    structures = sets(n_train)
    alone = parameters(trained(tmp_path / "alone", structures, starts=1))
    together, _ = trained_by(n_workers, tmp_path / "together", structures, starts=1)
    for found in together:
        assert torch.equal(found, together[0])
        torch.testing.assert_close(found, alone, rtol=1e-7, atol=1e-8)  # least squares: condition


GIVEN_UP = {"start": noise, "stages": STAGES[:1]}


@pytest.mark.parametrize(
    "changes",
    [{"widths": (4,)}, VARPRO, COMMITTEE, GIVEN_UP],
    ids=["search", "varpro", "committee", "given up"],
)
def test_workers_together_reach_the_errors_of_one(tmp_path, changes):
    """A quasi-Newton method enlarges rounding at each of its steps; what it finds is the same."""
    structures, journal = sets(), ListJournal()
    trained(tmp_path / "alone", structures, journal, **changes)
    models, found = trained_by(2, tmp_path / "together", structures, **changes)
    assert torch.equal(models[0], models[1])
    for name, value in journal.records[-1]["test"].items():
        assert found[name] == pytest.approx(value, rel=0.02)


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first, second = (parameters(trained(tmp_path / name, sets())) for name in "ab")
    assert torch.equal(first, second)


class Killed(Exception):
    pass


class Mortal(LocalContext):
    """Dies in an all-reduce."""

    def dying_at(self, last):
        object.__setattr__(self, "left", [last])
        return self

    def sum_over_workers(self, flat):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed
        return flat


@pytest.mark.parametrize(
    "changes",
    [{}, {"widths": (4,), "early_stopping": 2}, VARPRO, POLISHED, COMMITTEE],
    ids=["linear", "neural", "varpro", "polished", "committee"],
)
def test_a_run_killed_anywhere_ends_as_the_undisturbed_one(tmp_path, changes):
    structures, whole = sets(), ListJournal()
    changes = {"interval": 0.0, "starts": 1, **changes}
    undisturbed = trained(tmp_path / "whole", structures, whole, **changes)
    members = changes.get("members", 1)
    for last in range(3, 60 * members, 5 * members):
        journal, folder = ListJournal(), tmp_path / f"killed-{last}"
        context = Mortal().dying_at(last)
        try:
            trained(folder, structures, journal, context, **changes)
        except Killed:
            resumed = trained(folder, structures, journal, **changes)
        assert torch.equal(parameters(resumed), parameters(undisturbed))
        assert without_times(journal) == without_times(whole)


def without_times(journal):
    return [{k: v for k, v in r.items() if k not in ("time", "seconds")} for r in journal.records]


def test_every_epoch_of_every_stage_is_in_the_journal(tmp_path):
    journal = ListJournal()
    trained(tmp_path, sets(), journal)
    kinds = [r["type"] for r in journal.records if r["type"] != "rollback"]
    expected = ["start", "search", "note", *["epoch"] * 7, "calibration", *["epoch"] * 3, "end"]
    assert kinds == expected
    epochs = [(r["stage"], r["epoch"]) for r in journal.records if r["type"] == "epoch"]
    assert epochs == [(s.name, e + 1) for s in STAGES for e in range(s.epochs)]
    assert [r["step"] for r in journal.records if r["type"] == "epoch"] == list(range(1, 11))


def test_calibration_makes_the_weighted_losses_of_the_stage_before_equal(tmp_path):
    journal = ListJournal()
    trained(tmp_path, sets(), journal)
    found = next(r for r in journal.records if r["type"] == "calibration")
    before = [r for r in journal.records if r.get("stage") == "stage_2"][-1]["train"]
    parts = [found[f"{label}_coeff"] * before[f"{label}_loss"] for label in LABELS]
    assert parts == pytest.approx([before["loss"] / 3] * 3)
    assert found["after"] == pytest.approx(dict(zip(LABELS, parts, strict=True)))
    assert found["before"]["energy"] == pytest.approx(before["energy_loss"])
    assert found["losses"]["forces"] == before["forces_loss"]


@pytest.mark.parametrize("seed", range(2))
def test_calibration_begins_with_weighted_losses_of_one_size(tmp_path, seed):
    journal = ListJournal()
    structures = sets() | {"train": InMemory([structure_of(atoms) for atoms in metals(41)])}
    lengths = (10, 20, 3)
    stages = [
        replace(s, epochs=n, lr=0.1, loss="mse") for s, n in zip(STAGES, lengths, strict=True)
    ]
    stages[-1] = replace(stages[-1], lr=0.01)
    trained(tmp_path, structures, journal, stages=tuple(stages), batch_size=8, seed=seed)
    found = next(r for r in journal.records if r["type"] == "calibration")
    for train in [r["train"] for r in journal.records if r.get("stage") == "calibration"]:
        parts = [found[f"{label}_coeff"] * train[f"{label}_loss"] for label in LABELS]
        assert max(parts) <= 2 * min(parts)


def test_reference_energies_are_the_least_squares_of_compositions():
    structures = sets()["train"]
    energies = {13: -3.0, 28: -5.5, 29: -3.7}
    for i, structure in enumerate(structures.structures):
        total = sum(energies[z] for z in structure.numbers)
        object.__setattr__(structures.structures[i], "energy", total)
    model = model_of(structures)
    solve_reference_energies(model, WeightedSet.of(structures, {}), LocalContext())
    present = {z for s in structures.structures for z in s.numbers.tolist()}
    for z, found in zip(model.species, model.species_coeffs.tolist(), strict=True):
        assert found == pytest.approx(energies[z] if z in present else 0.0, abs=1e-9)


def test_a_stage_that_cannot_be_trained_ends_where_it_began_and_says_so(tmp_path):
    journal = ListJournal()
    wild = (Stage("stage_1", 3, 1e200, 1.0, 1.0, 1.0), STAGES[2])
    model = trained(tmp_path, sets(), journal, stages=wild)
    stops = [r for r in journal.records if r["type"] == "stop"]
    assert [(r["stage"], r["epoch"]) for r in stops] == [("stage_1", 0)]
    assert "diverged" in stops[0]["why"]
    assert bool(parameters(model).isfinite().all())


def test_a_divergence_goes_back_to_the_last_good_epoch_with_a_smaller_rate(tmp_path):
    journal = ListJournal()
    steep = (Stage("stage_1", 4, 30.0, 1.0, 1.0, 1.0, scheduler="None"),)
    model = trained(tmp_path, sets(), journal, stages=steep)
    back = [r for r in journal.records if r["type"] == "rollback"]
    epochs = [r for r in journal.records if r["type"] == "epoch"]
    assert [r["lr"] for r in back] == pytest.approx([30 * 0.3 ** (i + 1) for i in range(len(back))])
    assert back
    assert epochs[-1]["lr"] == pytest.approx(back[-1]["lr"])
    assert [r["epoch"] for r in epochs] == [1, 2, 3, 4]
    assert max(r["train"]["loss"] for r in epochs) <= 10 * min(r["train"]["loss"] for r in epochs)
    assert bool(parameters(model).isfinite().all())


def test_the_loss_where_a_stage_goes_back_to_is_no_divergence():
    """It was 100 where the only good epoch began, and may be so again."""
    figures = {f"{label}_loss": None for label in LABELS}
    progress = Progress()
    progress.began({"loss": 100.0, **figures})
    progress.next_epoch({"loss": 1.0, **figures})
    assert progress.best_loss == 1.0
    progress.go_back()
    assert progress.best_loss == 100.0
    progress.next_epoch({"loss": 50.0, **figures})
    progress.next_epoch({"loss": 60.0, **figures})
    assert progress.best_loss == progress.best_before == 50.0


def test_a_checkpoint_of_another_version_is_refused_in_a_line(tmp_path, monkeypatch):
    trained(tmp_path, sets())
    monkeypatch.setattr(checkpoint, "VERSION", checkpoint.VERSION + 1)
    with pytest.raises(
        UserError, match=r"has version \d+, this one reads \d+: .*--fresh"
    ) as refused:
        trained(tmp_path, sets())
    assert "\n" not in str(refused.value)


def test_early_stopping_takes_the_epoch_of_the_lowest_test_loss(tmp_path):
    journal = ListJournal()
    stage = (Stage("stage_1", 300, 0.3, 1.0, 1.0, 1.0, scheduler="None"),)
    changes = {"early_stopping": 2, "least_squares_stages": False, "widths": (4,)}
    trained(tmp_path, sets(), journal, stages=stage, **changes)
    losses = [r["test"]["loss"] for r in journal.records if r["type"] == "epoch"]
    stops = [r for r in journal.records if r["type"] == "stop"]
    assert [(r["why"], r["taken_back"]) for r in stops] == [("early stopping", 2)]
    assert losses.index(min(losses)) == len(losses) - 3
    assert journal.records[-1]["test"]["forces_rmse"] == pytest.approx(
        [r for r in journal.records if r["type"] == "epoch"][-3]["test"]["forces_rmse"]
    )


def test_training_in_single_precision_reaches_the_errors_of_double(tmp_path):
    found = []
    for dtype in (torch.float64, torch.float32):
        journal = ListJournal()
        trained(tmp_path / str(dtype), sets(30), journal, dtype=dtype, starts=1)
        found.append(journal.records[-1]["train"]["forces_rmse"])
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "000-0000001-000000000.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"000-0000001-000000000\.pt is damaged"):
        trained(tmp_path, sets())


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    trained(tmp_path, sets(), interval=0.0)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == checkpoint.KEPT
    assert kept[-1].startswith("003-0000000")


def test_an_empty_test_set_has_no_figures(tmp_path):
    journal = ListJournal()
    trained(tmp_path, sets() | {"test": InMemory([])}, journal)
    assert journal.records[-1]["test"]["forces_rmse"] is None
