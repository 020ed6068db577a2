"""The potential obeys its laws: derivatives, invariances, smoothness at the cutoff, additivity."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape
from lightpfp_ray.units import matrix_from_voigt

CUTOFF = 4.0


def potential(widths=()):
    torch.manual_seed(1)
    model = MTP([13, 28], make_basis(Levels(10)), RadialShape(CUTOFF, 1.5, 5, 0.1), widths)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return model


def structure(kind):
    rng = np.random.default_rng(2)
    triclinic = np.array([[4.1, 0.2, 0.0], [1.9, 3.8, 0.1], [0.5, -0.7, 4.4]])
    if kind == "one atom":
        return Structure(np.array([13]), np.zeros((1, 3)), 0.6 * triclinic, np.array([True] * 3))
    grid = np.array([[0, 0, 0], [2.1, 0, 0], [0, 2.2, 0], [2, 2, 2.1]]) + 0.1 * rng.normal(
        size=(4, 3)
    )
    periodic = kind == "triclinic"
    return Structure(
        np.array([13, 28, 28, 13]), grid, triclinic * periodic, np.array([periodic] * 3)
    )


def evaluate(model, s):
    return model(batch_from_structures([s], CUTOFF))


def energy(model, s):
    return float(evaluate(model, s).energy_S[0])


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
@pytest.mark.parametrize("kind", ["triclinic", "one atom", "cluster"])
def test_forces_are_minus_the_gradient_of_the_energy(kind, widths):
    model, s, h = potential(widths), structure(kind), 1e-5
    forces = evaluate(model, s).forces_A3.numpy()
    for i, k in np.ndindex(s.positions.shape):
        step = np.zeros_like(s.positions)
        step[i, k] = h
        up, down = (
            energy(model, replace(s, positions=s.positions + sign * step)) for sign in (1, -1)
        )
        assert forces[i, k] == pytest.approx(-(up - down) / (2 * h), abs=1e-7)


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
@pytest.mark.parametrize("kind", ["triclinic", "one atom"])
def test_stress_is_the_strain_derivative_of_the_energy_by_volume(kind, widths):
    model, s, h = potential(widths), structure(kind), 1e-5
    stress = matrix_from_voigt(evaluate(model, s).stress_S6[0].numpy())
    volume = abs(np.linalg.det(s.cell))
    for i, j in np.ndindex(3, 3):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = h

        def strained(deform, s=s):
            return replace(s, positions=s.positions @ deform, cell=s.cell @ deform)

        up, down = (energy(model, strained(np.eye(3) + sign * strain)) for sign in (1, -1))
        count = 1 if i == j else 2
        assert stress[i, j] == pytest.approx((up - down) / (2 * h) / volume / count, abs=1e-8)


def test_stress_of_a_cluster_is_not_defined():
    assert evaluate(potential(), structure("cluster")).stress_S6.isnan().all()


def test_rotation_translation_and_permutation_change_nothing():
    model, s = potential(), structure("triclinic")
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    order = [2, 0, 3, 1]
    moved = replace(
        s,
        numbers=s.numbers[order],
        positions=(s.positions @ rotation + [0.3, 7.1, -2.0])[order],
        cell=s.cell @ rotation,
    )
    before, after = evaluate(model, s), evaluate(model, moved)
    assert float(after.energy_S[0]) == pytest.approx(float(before.energy_S[0]), rel=1e-12)
    np.testing.assert_allclose(
        after.forces_A3, (before.forces_A3.numpy() @ rotation)[order], atol=1e-11
    )


def test_the_choice_of_the_cell_changes_nothing():
    model, s = potential(), structure("triclinic")
    skewed = replace(s, cell=np.array([[1, 0, 0], [2, 1, 0], [-1, 1, 1]]) @ s.cell)
    twice = replace(
        s,
        numbers=np.tile(s.numbers, 2),
        positions=np.concatenate([s.positions, s.positions + s.cell[0]]),
        cell=np.diag([2, 1, 1]) @ s.cell,
    )
    assert energy(model, skewed) == pytest.approx(energy(model, s), rel=1e-12)
    assert energy(model, twice) == pytest.approx(2 * energy(model, s), rel=1e-12)


def test_energy_and_force_vanish_smoothly_at_the_cutoff():
    model = potential()

    def pair(r):
        return Structure(
            np.array([13, 28]),
            np.array([[0, 0, 0], [r, 0, 0]]),
            np.zeros((3, 3)),
            np.zeros(3, bool),
        )

    apart = energy(model, pair(2 * CUTOFF))
    for gap in (1e-3, 1e-5):
        inside = evaluate(model, pair(CUTOFF - gap))
        assert abs(float(inside.energy_S[0]) - apart) < 10 * gap**2
        assert float(inside.forces_A3.abs().max()) < 20 * gap


def test_energies_of_separated_fragments_add_up():
    model, s = potential(), structure("cluster")
    both = replace(
        s,
        numbers=np.tile(s.numbers, 2),
        positions=np.concatenate([s.positions, s.positions + 50.0]),
    )
    assert energy(model, both) == pytest.approx(2 * energy(model, s), rel=1e-12)


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
@pytest.mark.parametrize("power", [1, 2], ids=["l1", "mse"])
def test_gradient_of_a_loss_of_energies_forces_and_stress(widths, power):
    model = potential(widths)
    batch = batch_from_structures([structure("triclinic"), structure("cluster")], CUTOFF)

    def loss(training):
        p = model(batch, training)
        parts = (p.energy_S, p.forces_A3, p.stress_S6[:1])
        return sum(((x - 0.37).abs() ** power).sum() for x in parts)

    loss(True).backward()
    for parameter in model.parameters():
        direction, h = torch.randn_like(parameter), 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * h * direction
            values.append(float(loss(False)))
            with torch.no_grad():
                parameter -= sign * h * direction
        expected = (values[0] - values[1]) / (2 * h)
        assert float((parameter.grad * direction).sum()) == pytest.approx(
            expected, rel=1e-5, abs=1e-6
        )
