"""The loop: two workers give the parameters of one, and an interrupted run those of an undisturbed
one.
"""

import threading

import pytest
import torch

from lightpfp_ray.errors import UserError
from lightpfp_ray.training import checkpoint
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loss import LABELS
from lightpfp_ray.training.start import solve_reference_energies

from .training_samples import (
    STAGES,
    InMemory,
    ListJournal,
    Stage,
    model_of,
    parameters,
    sets,
    trained,
)


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


def trained_by(n_workers, folder, structures):
    """Potentials of all workers."""
    all_reduce, found = Sum(n_workers), [None] * n_workers

    def work(rank):
        context = ThreadContext(rank=rank, world_size=n_workers).over(all_reduce)
        found[rank] = parameters(trained(folder, structures, context=context))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize(("n_workers", "n_train"), [(2, 7), (3, 8)])
def test_workers_together_give_the_parameters_of_one(tmp_path, n_workers, n_train):
    structures = sets(n_train)
    alone = parameters(trained(tmp_path / "alone", structures))
    together = trained_by(n_workers, tmp_path / "together", structures)
    for found in together:
        assert torch.equal(found, together[0])
        torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-10)


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


@pytest.mark.parametrize("widths", [(), (4,)])
def test_a_run_killed_anywhere_ends_as_the_undisturbed_one(tmp_path, widths):
    structures, whole = sets(), ListJournal()
    undisturbed = trained(tmp_path / "whole", structures, whole, widths=widths, interval=0.0)
    for last in range(3, 60, 5):
        journal, folder = ListJournal(), tmp_path / f"killed-{last}"
        context = Mortal().dying_at(last)
        try:
            trained(folder, structures, journal, context, widths, interval=0.0)
        except Killed:
            resumed = trained(folder, structures, journal, widths=widths, interval=0.0)
        assert torch.equal(parameters(resumed), parameters(undisturbed))
        assert without_times(journal) == without_times(whole)


def without_times(journal):
    return [{k: v for k, v in r.items() if k not in ("time", "seconds")} for r in journal.records]


def test_every_epoch_of_every_stage_is_in_the_journal(tmp_path):
    journal = ListJournal()
    trained(tmp_path, sets(), journal)
    kinds = [record["type"] for record in journal.records]
    assert kinds == ["start", *["epoch"] * 7, "calibration", *["epoch"] * 3, "end"]
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


def test_reference_energies_are_the_least_squares_of_compositions():
    structures = sets()["train"]
    energies = {13: -3.0, 28: -5.5, 29: -3.7}
    for i, structure in enumerate(structures.structures):
        total = sum(energies[z] for z in structure.numbers)
        object.__setattr__(structures.structures[i], "energy", total)
    model = model_of(structures)
    solve_reference_energies(model, structures, LocalContext(), 2)
    present = {z for s in structures.structures for z in s.numbers.tolist()}
    for z, found in zip(model.species, model.species_coeffs.tolist(), strict=True):
        assert found == pytest.approx(energies[z] if z in present else 0.0, abs=1e-9)


def test_divergence_is_told_with_stage_and_epoch(tmp_path):
    wild = (Stage("stage_1", 3, 1e200, 1.0, 1.0, 1.0),)
    with pytest.raises(UserError, match="stage_1 diverged in epoch 1"):
        trained(tmp_path, sets(), stages=wild)


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
