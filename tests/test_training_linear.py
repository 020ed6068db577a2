"""What is linear: least squares against a dense solver, and coordinates that change no
prediction.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightpfp_ray.mtp.sites import basis_functions
from lightpfp_ray.training import gauss_newton, steepness
from lightpfp_ray.training.batches import WeightedSet
from lightpfp_ray.training.coordinates import RADIAL, Coordinates, Maps
from lightpfp_ray.training.linear import (
    RIDGES,
    equations,
    linear_part,
    loss_at,
    loss_of,
    network_of,
    refit,
    set_linear_part,
    solution,
)
from lightpfp_ray.training.loss import LABELS, residuals
from lightpfp_ray.training.start import orthonormal, radial_gram
from lightpfp_ray.training.steepness import LARGEST
from lightpfp_ray.training.varpro import VariableProjection
from lightpfp_ray.training.whiten import (
    ENERGY_UNIT,
    energy_unit,
    least_loss,
    standardise_network,
    whitened,
)

from .training_samples import ALONE, COEFFICIENTS, InMemory, model_of, moved, parameters, sets, some


def design(model, train):
    """Rows of X and y, weighted, from residuals at 0 and at every unit vector of (xi, E0)."""
    share = next(train.shares(train.everything, len(train), ALONE))
    labels = share.labels.weight
    weights = [(COEFFICIENTS[k] / labels[k]) ** 0.5 for k in LABELS]

    def rows(x_P):
        set_linear_part(model, x_P)
        found = residuals(model(share.batch), share.batch)
        return np.concatenate(
            [w * d.detach().reshape(-1).numpy() for w, d in zip(weights, found, strict=True)]
        )

    zero_P = torch.zeros(len(linear_part(model)), dtype=torch.float64)
    offset = rows(zero_P)
    units = torch.eye(len(zero_P), dtype=torch.float64)
    return np.stack([rows(unit_P) - offset for unit_P in units], 1), -offset


@pytest.mark.parametrize("widths", [(), (5, 4)])
def test_least_squares_reach_the_minimum_of_a_dense_solver(widths):
    """Of what is linear; a network stays as it is."""
    model, train = moved(widths), some()
    x_NP, y_N = design(model, train)
    best = np.linalg.lstsq(x_NP, y_N, rcond=1e-12)[0]
    least = float(((x_NP @ best - y_N) ** 2).sum())
    network = network_of(model)
    found = equations(model, train, COEFFICIENTS, train.everything, ALONE, network)
    start_P = torch.zeros(x_NP.shape[1], dtype=torch.float64)
    set_linear_part(model, solution(found, start_P, RIDGES[torch.float64]))
    reached = loss_of(model, train, COEFFICIENTS, "mse", train.everything, ALONE)
    size = float(found.square)
    assert least <= reached * (1 + 1e-9)
    assert reached == pytest.approx(least, rel=1e-3, abs=1e-8 * size)
    assert loss_at(found, linear_part(model)) == pytest.approx(reached, abs=1e-9 * size)


@pytest.mark.parametrize("widths", [(), (5, 4)])
@pytest.mark.parametrize("power", ["mse", "l1"])
def test_a_refit_never_raises_the_loss(power, widths):
    model, train = moved(widths), some()
    for _ in range(2):
        before = loss_of(model, train, COEFFICIENTS, power, train.everything, ALONE)
        refit(model, train, COEFFICIENTS, power, 0, ALONE)
        after = loss_of(model, train, COEFFICIENTS, power, train.everything, ALONE)
        assert after <= before


@pytest.mark.parametrize("widths", [(), (5, 4)])
def test_whitening_changes_no_prediction(widths):
    model, train = moved(widths), some()
    batch = train.structures.batch([0, 1, 2])
    before, parameters_before = model(batch), parameters(model)
    maps = whitened(model, train, COEFFICIENTS, 0, ALONE)
    Coordinates(model, maps).apply(model)
    after = model(batch)
    torch.testing.assert_close(after.energy_S, before.energy_S, rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(after.forces_A3, before.forces_A3, rtol=1e-7, atol=1e-8)
    assert not torch.equal(maps.linear_BB, Maps.identity(model).linear_BB)
    torch.testing.assert_close(parameters(model), parameters_before, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("widths", [(), (5, 4)])
def test_gradients_of_walkers_are_those_of_what_they_make(widths):
    model, train = moved(widths), some()
    found = Coordinates(model, whitened(model, train, COEFFICIENTS, 0, ALONE))
    torch.manual_seed(2)
    weights = {name: torch.randn_like(p) for name, p in model.named_parameters()}

    def value():
        return float(sum((weights[n] * p).sum() for n, p in found.parameters().items()).detach())

    found.set_gradients(weights)
    for walker in found.walkers.values():
        direction = torch.randn_like(walker)
        expected = float((walker.grad * direction).sum())
        before = value()
        with torch.no_grad():
            walker += direction
        assert value() - before == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_in_whitened_coordinates_the_loss_is_round():
    model, train = moved(), some()
    maps = whitened(model, train, COEFFICIENTS, 0, ALONE)
    found = equations(model, train, COEFFICIENTS, train.everything, ALONE)
    n = len(model.basis.scalars)
    whole_PB = torch.cat([maps.linear_BB, maps.offset_CB @ maps.linear_BB])
    curvature_BB = whole_PB.T @ found.matrix_PP @ whole_PB
    values = torch.linalg.eigvalsh(curvature_BB) / curvature_BB.diagonal().max()
    assert float(values.max()) < 1.01
    assert int((values > 0.5).sum()) >= n - 3  # but for directions that the data do not see


def test_radial_functions_of_unit_coefficients_are_orthonormal_over_the_edges():
    model, train = moved(), some()
    gram_QQ = radial_gram(model.radial, train, train.everything, ALONE)
    k_QQ = orthonormal(gram_QQ)
    torch.testing.assert_close(k_QQ @ gram_QQ @ k_QQ.T, torch.eye(5).double(), rtol=0, atol=0.02)


def test_the_neurons_of_an_untrained_network_see_values_of_mean_0_and_deviation_1():
    """However large the basis functions are; a last layer of zeros predicts what it did."""
    train = some()
    model = model_of(train.structures, widths=(5, 4))
    with torch.no_grad():
        model.radial_coeffs *= 30.0
        model.readout.moment_coeffs.normal_(generator=torch.Generator().manual_seed(0))
    batch = train.structures.batch(train.everything)
    before = model(batch).forces_A3.detach()
    standardise_network(model, train, 0, ALONE)
    torch.testing.assert_close(model(batch).forces_A3.detach(), before, rtol=1e-12, atol=1e-12)
    seen = basis_functions(model, batch) @ model.readout.layers[0].weight.T
    seen = (seen + model.readout.layers[0].bias).detach()
    torch.testing.assert_close(seen.mean(0), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        seen.var(0, correction=0), torch.ones(5, dtype=torch.float64), rtol=1e-9, atol=0
    )


def test_the_unit_of_energy_is_what_the_forces_still_miss_times_an_angstrom():
    """0.03 eV/A left, whose square counts 0.1: a loss of 9e-5 is 0.03 eV."""
    assert energy_unit(9e-5, {"energy": 1.0, "forces": 0.1, "stress": 10.0}) == pytest.approx(0.03)
    assert energy_unit(9e-5, {"energy": 1.0, "forces": 0.0, "stress": 10.0}) == ENERGY_UNIT


def jacobian_of(model, train, coefficients):
    """Columns of the weighted residuals by some coefficients, by changing each of them."""
    batch = train.structures.batch(train.everything)
    weight = train.labels(train.everything).weight
    roots = [(COEFFICIENTS[k] / weight[k]) ** 0.5 for k in LABELS]

    def weighted_residuals():
        found = residuals(model(batch), batch)
        return torch.cat(
            [root * d.detach().reshape(-1) for root, d in zip(roots, found, strict=True)]
        )

    before, columns = weighted_residuals(), []
    flat = coefficients.data.view(-1)
    for k in range(len(flat)):
        flat[k] += 1e-6
        columns.append((weighted_residuals() - before) / 1e-6)
        flat[k] -= 1e-6
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("largest", [LARGEST, 0])
def test_the_steepness_of_a_pair_is_that_of_finite_changes(monkeypatch, largest):
    """Random signs find J^T J but for the chance of 512 of them."""
    monkeypatch.setattr(steepness, "LARGEST", largest)
    model, train = moved(), some()
    n_q = model.radial.n_q
    jacobian = jacobian_of(model, train, model.radial_coeffs[1, 1])
    expected = jacobian.T @ jacobian
    unit = torch.eye(n_q, dtype=torch.float64)
    place = (train.everything, unit, 0, ALONE)
    found = steepness.steepness(model, train, COEFFICIENTS, *place)[1, 1]
    found = torch.block_diag(*found)
    expected = torch.where(found == 0, 0.0, expected) if largest == 0 else expected
    size = jacobian.norm(dim=0)
    assert float(((found - expected) / (size[:, None] * size)).abs().max()) < 0.3


def test_the_matrix_of_gauss_and_newton_is_that_of_finite_changes_where_xi_and_e0_follow(
    monkeypatch,
):
    """J' = J_gamma less what J_x can say of it, by a dense solver; random signs leave chance."""
    monkeypatch.setattr(gauss_newton, "ROWS", 60)
    model, train = moved(), some()
    radial = jacobian_of(model, train, model.radial_coeffs)
    linear = (model.readout.moment_coeffs, model.species_coeffs)
    others = torch.cat([jacobian_of(model, train, p) for p in linear], dim=1)
    solved = torch.linalg.lstsq(others, radial, driver="gelsd").solution
    rest = radial - others @ solved
    expected = rest.T @ rest
    rows = gauss_newton.rows(model, train, COEFFICIENTS, train.everything, 0, ALONE)
    unit = torch.eye(model.radial.n_q, dtype=torch.float64)
    found = gauss_newton.projected(rows, radial.shape[1], unit)
    size = rest.norm(dim=0).clamp(min=1e-3 * float(rest.norm(dim=0).max()))
    assert float(((found - expected) / (size[:, None] * size)).abs().max()) < 0.3


def labelled_by(model, structures):
    """The structures with what a potential says of them."""
    batch = structures.batch(np.arange(len(structures)))
    with torch.no_grad():
        said = model(batch)
    forces = said.forces_A3.split(batch.atoms_S.tolist())
    return InMemory(
        [
            replace(s, energy=float(e), forces=f.numpy(), stress=stress.numpy())
            for s, e, f, stress in zip(
                structures.structures, said.energy_S, forces, said.stress_S6, strict=True
            )
        ]
    )


def test_variable_projection_finds_a_potential_of_the_same_form_in_few_iterations():
    """Labels without an error: in the coordinates of Gauss and Newton the loss falls ten
    times lower than in plain ones.
    """
    teacher, losses = moved(), []
    train = WeightedSet.of(labelled_by(teacher, sets(13)["train"]), {})
    for seed in (0, None):
        model = moved()
        with torch.no_grad():
            model.radial_coeffs += 0.05 * torch.randn_like(model.radial_coeffs)
        walk = VariableProjection(model, Coordinates(model, Maps.identity(model)), seed)
        for _ in range(15):
            walk.iterate(model, train, COEFFICIENTS, ALONE)
        losses.append(loss_of(model, train, COEFFICIENTS, "mse", train.everything, ALONE))
    assert losses[0] < 0.1 * losses[1]


def test_a_unit_step_of_the_functions_of_a_pair_raises_the_loss_by_no_more_than_what_is_left():
    model, train = moved(), some()
    unit, loss = torch.eye(model.radial.n_q, dtype=torch.float64), 0.01
    found = steepness.steepness(model, train, COEFFICIENTS, train.everything, unit, 0, ALONE)
    found = found.flatten(0, 2)
    place = (train.everything, unit, loss, 0, ALONE)
    units, _ = steepness.pair_units(model, train, COEFFICIENTS, *place)
    rise = torch.linalg.eigvalsh(units.mT @ found @ units)
    assert float(rise.max()) <= loss * (1 + 1e-9)
    assert float(rise.max()) > 0.5 * loss
    assert float(torch.linalg.matrix_norm(units, 2).max()) <= 1 + 1e-9


def test_what_holds_the_functions_of_a_pair_is_a_prior_of_random_ones():
    """L_0 / N |D^-1 (gamma - gamma_0)|^2, as the gradient of a walker away from its start."""
    model, train = moved(), some()
    maps = whitened(model, train, COEFFICIENTS, 0, ALONE)
    found = Coordinates(model, maps)
    walker = found.walkers[RADIAL]
    assert float(walker.detach().abs().max()) < 1e-9  # a stage begins at the start
    with torch.no_grad():
        walker += torch.randn_like(walker)
    found.set_gradients({name: torch.zeros_like(p) for name, p in model.named_parameters()})
    away = found._blocks(maps.units_MJJ, walker.detach())
    prior = float((away / steepness.smoothness(model.radial.n_q)).square().sum())
    normal = equations(model, train, COEFFICIENTS, train.everything, ALONE)
    loss = least_loss(normal, len(model.basis.scalars))
    n_labels = sum(train.labels(train.everything).count.values())
    pulled = float((walker.grad * walker).sum().detach())
    assert pulled == pytest.approx(2 * loss / n_labels * prior, rel=1e-6)
