"""How optimizers walk: what Adam's steps take away, and where variable projection ends."""

from dataclasses import replace

import pytest
import torch

from lightpfp_ray.training.coordinates import Coordinates, Maps
from lightpfp_ray.training.linear import loss_of
from lightpfp_ray.training.opening import Opening
from lightpfp_ray.training.quasi_newton import QuasiNewton
from lightpfp_ray.training.update import NETWORK_RATE, AdamWalk
from lightpfp_ray.training.varpro import WHILE, VariableProjection

from .training_samples import (
    ALONE,
    COEFFICIENTS,
    STAGES,
    committee,
    model_of,
    moved,
    plan,
    sets,
    some,
)


def test_the_quasi_newton_method_finds_the_minimum_of_rosenbrock():
    def rosenbrock(x):
        x = x.clone().requires_grad_()
        value = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        value.backward()
        return float(value), x.grad

    method = QuasiNewton(torch.full((6,), -0.5, dtype=torch.float64), 0.1)
    values = []
    while method.iterate(rosenbrock) and len(values) < 200:
        values.append(method.value)
    assert values == sorted(values, reverse=True)
    torch.testing.assert_close(method.x, torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-5)


def test_weight_decay_shrinks_the_layers_of_a_network_and_nothing_else():
    model = moved((5, 4))
    walk = AdamWalk(model, Coordinates(model, Maps.identity(model)))
    walk.decay(2.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    walk.step(model, {name: torch.zeros_like(p) for name, p in before.items()}, rate=0.1)
    for name, parameter in model.named_parameters():
        kept = 1 - 2.0 * 0.1 if ".weight" in name else 1.0
        torch.testing.assert_close(parameter.detach(), kept * before[name])


def test_a_network_decays_by_a_step_the_less_the_more_steps_there_are(tmp_path):
    """5 epochs of 3 batches, of another member's nothing."""
    stages = committee(2, (replace(STAGES[0], epochs=2), replace(STAGES[1], epochs=3)))
    given = plan(tmp_path, stages, batch_size=3, starts=1, weight_decay=0.3, whitening=False)
    opening = Opening(given, some(9), ALONE, False, lambda kind, **content: None)
    walk = opening.walk(model_of(sets(9)["train"], widths=(4,)), stages[0], COEFFICIENTS, True)
    groups = dict(zip(walk.coordinates.walkers, walk.adam.param_groups, strict=True))
    found = groups["readout.layers.0.weight"]["weight_decay"] * NETWORK_RATE
    assert found == pytest.approx(0.3 / 15)


def test_a_walk_that_gains_little_ends_where_its_last_iterations_began():
    train = some()
    model, passed = moved(), []
    walk = VariableProjection(model, Coordinates(model, Maps.identity(model)), 0, tolerance=0.5)
    while walk.iterate(model, train, COEFFICIENTS, ALONE) is not None:
        passed.append((loss_now(model, train), model.radial_coeffs.detach().clone()))
    losses = [loss for loss, _ in passed]
    assert losses[-1] > 0.5 * losses[-WHILE - 1]
    assert all(b < 0.5 * a for a, b in zip(losses, losses[WHILE:-1], strict=False))
    assert walk.taken_back == WHILE
    assert torch.equal(model.radial_coeffs, passed[-WHILE - 1][1])
    assert loss_now(model, train) == pytest.approx(losses[-WHILE - 1])


def loss_now(model, train):
    return loss_of(model, train, COEFFICIENTS, "mse", train.everything, ALONE)
