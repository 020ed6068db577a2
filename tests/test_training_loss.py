"""The loss is the equation of its docstring, and its gradient is its derivative."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightpfp_ray.batch import Prediction
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.errors import UserError
from lightpfp_ray.training.batches import WeightedSet, permutation, refuse_unknown_groups
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loss import figures, sums, weighted

from .data_samples import metals
from .training_samples import InMemory, model_of, partly_labelled, sets

COEFFICIENTS = {"energy": 2.0, "forces": 0.5, "stress": 3.0}


def prediction_off_by(batch, energy, force, stress):
    """Labels plus a constant, numbers in place of the absent ones."""
    return Prediction(
        energy_S=batch.energy_S.nan_to_num(5.0) + energy * batch.atoms_S.double(),
        energies_A=torch.zeros(batch.n_atoms),
        forces_A3=batch.forces_A3.nan_to_num(7.0) + force,
        stress_S6=batch.stress_S6.nan_to_num(9.0) + stress,
    )


@pytest.mark.parametrize(
    ("power", "expected"),
    [("mse", 2 * 0.1**2 + 0.5 * 0.2**2 + 3 * 0.3**2), ("l1", 2 * 0.1 + 0.5 * 0.2 + 3 * 0.3)],
)
def test_the_loss_of_constant_errors_is_the_sum_by_hand(power, expected):
    structures = InMemory(partly_labelled())
    batch = structures.batch(range(3))
    labels = WeightedSet.of(structures, {}).labels(np.arange(3))
    atoms = structures.n_atoms
    assert labels.count == {"energy": 2, "forces": 3 * (atoms[0] + atoms[1]), "stress": 12}
    assert labels.weight == labels.count
    found = sums(prediction_off_by(batch, 0.1, -0.2, 0.3), batch)
    assert float(weighted(found, labels, COEFFICIENTS, power)) == pytest.approx(expected, rel=1e-12)
    named = figures(found, labels, COEFFICIENTS, power)
    assert named["forces_mae"] == pytest.approx(0.2, rel=1e-12)
    assert named["stress_rmse"] == pytest.approx(0.3, rel=1e-12)
    assert named["energy_loss"] == pytest.approx(0.01 if power == "mse" else 0.1, rel=1e-12)


def test_an_absent_label_has_no_figure():
    structures = InMemory(partly_labelled()[1:2])
    batch = structures.batch([0])
    found = sums(prediction_off_by(batch, 1, 1, 1), batch)
    named = figures(found, WeightedSet.of(structures, {}).labels([0]), COEFFICIENTS, "mse")
    assert named["energy_mae"] is None
    assert named["stress_loss"] is None
    assert named["loss"] == pytest.approx(0.5)


@pytest.mark.parametrize("power", ["mse", "l1"])
@pytest.mark.parametrize("widths", [(), (6,)])
def test_the_gradient_of_the_loss_is_its_finite_difference(power, widths):
    structures = InMemory(partly_labelled())
    model = model_of(structures, widths=widths)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    weighted_set = WeightedSet.of(structures, {"": [1.0, 2.0, 3.0]})
    share = next(weighted_set.shares(np.arange(3), 3, LocalContext()))

    def loss():
        found = sums(model(share.batch, training=True), share.batch, share.weights_S3)
        return weighted(found, share.labels, COEFFICIENTS, power)

    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn_like(parameter)
        slope = float((parameter.grad * direction).sum())
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * direction
            values.append(float(loss()))
            with torch.no_grad():
                parameter -= sign * 1e-6 * direction
        numeric = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx(numeric, rel=2e-5, abs=1e-6), name


def test_every_structure_is_in_one_share_of_an_epoch():
    train = sets(7)["train"]
    order = permutation(7, seed=4, epoch=2)
    assert sorted(order) == list(range(7))
    assert list(order) != list(permutation(7, seed=4, epoch=3))
    n_atoms = 0
    for rank in range(3):
        context = LocalContext(rank=rank, world_size=3)
        shares = WeightedSet.of(train, {}).shares(order, 4, context)
        n_atoms += sum(s.batch.n_atoms for s in shares)
    assert n_atoms == train.n_atoms.sum()


def test_a_structure_of_weight_two_counts_as_two_of_them():
    first, second = (structure_of(atoms) for atoms in metals(2))
    heavy = InMemory([replace(first, weight=2.0), second])
    twice = InMemory([first, first, second])
    model = model_of(twice)
    with torch.no_grad():
        model.readout.moment_coeffs.normal_()

    def loss(structures, power):
        found = WeightedSet.of(structures, {})
        share = next(found.shares(found.everything, 9, LocalContext()))
        total = sums(model(share.batch), share.batch, share.weights_S3)
        return float(weighted(total, share.labels, COEFFICIENTS, power))

    for power in ("l1", "mse"):
        assert loss(heavy, power) == pytest.approx(loss(twice, power), rel=1e-12)


def test_weights_of_a_group_multiply_those_of_its_structures():
    structures = [structure_of(atoms) for atoms in metals(3)]
    structures[1] = replace(structures[1], group="melt", weight=0.5)
    structures[2] = replace(structures[2], group="bulk")
    found = WeightedSet.of(InMemory(structures), {"melt": [1, 2, 3], "bulk": 4})
    assert found.weights_S3.tolist() == [[1, 1, 1], [0.5, 1, 1.5], [4, 4, 4]]


def test_the_weight_of_a_group_that_no_structure_is_of_is_refused():
    melt = InMemory([replace(s, group="melt") for s in partly_labelled()])
    both = [InMemory(partly_labelled()), melt]
    refuse_unknown_groups({"melt": 2}, both)
    with pytest.raises(UserError, match=r'names "liquid", the groups .* are \'\', \'melt\''):
        refuse_unknown_groups({"liquid": 2}, both)
