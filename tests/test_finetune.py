"""A training that begins at a potential keeps what the structures do not ask it to change; pairs
of species can share a part of their radial functions.
"""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from lightpfp_ray.errors import UserError
from lightpfp_ray.mtp.model import RadialShape
from lightpfp_ray.mtp.radial import radial_basis
from lightpfp_ray.training.batches import WeightedSet, permutation
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.coordinates import Coordinates, Maps
from lightpfp_ray.training.finetune import FOLDS, held_out_ridge, lets_go, lower, search_from
from lightpfp_ray.training.linear import equations, linear_part, loss_of, refit, set_linear_part
from lightpfp_ray.training.opening import LEFT, Opening
from lightpfp_ray.training.options import Options, refuse_contradiction
from lightpfp_ray.training.pairs import (
    CENTER,
    SharedPairs,
    keep_shared,
    parts_of,
    stretches,
    with_stretch,
)
from lightpfp_ray.training.search import ROUNDS
from lightpfp_ray.training.update import AdamWalk

from .training_samples import (
    STAGES,
    InMemory,
    ListJournal,
    Stage,
    model_of,
    noise,
    parameters,
    plan,
    sets,
    trained,
)

CONTEXT = LocalContext()
GOAL = {"energy": 1.0, "forces": 1.0, "stress": 1.0}


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), sets(24))


def copy_of(model):
    other = type(model).of_shape(model.shape())
    other.load_state_dict(model.state_dict())
    return other


def tuned(folder, start, structures, **changes):
    journal = ListJournal()
    model = trained(folder, structures, journal, start=lambda _: copy_of(start), **changes)
    return model, journal.records


def test_reference_energies_are_solved_anew_for_the_data(tmp_path, potential):
    """Another zero of energy for each element changes E0, and nothing else."""
    shift = {13: 5.0, 28: -3.0, 29: 11.0}
    there = sets(24)
    here = {
        split: InMemory([shifted(s, shift) for s in found.structures])
        for split, found in there.items()
    }
    still = (Stage("stage_1", 1, 1e-12, 1.0, 1.0, 1.0),)
    options = {
        "stages": still,
        "starts": 1,
        "least_squares_start": False,
        "least_squares_stages": False,
    }
    a, _ = tuned(tmp_path / "a", potential, there, **options)
    b, _ = tuned(tmp_path / "b", potential, here, **options)
    moved = (b.species_coeffs - a.species_coeffs).detach()
    torch.testing.assert_close(moved, torch.tensor([5.0, -3.0, 11.0]).double())
    torch.testing.assert_close(a.radial_coeffs, b.radial_coeffs)


def shifted(structure, shift):
    if structure.energy is None:
        return structure
    energy = structure.energy + sum(shift.get(z, 0.0) for z in structure.numbers.tolist())
    return replace(structure, energy=energy)


def test_the_ridge_is_large_where_the_potential_fits_and_small_where_it_does_not(potential):
    """Labels that the potential made itself ask for no change, however they are disturbed; those of
    another one do.
    """
    train = WeightedSet.of(sets(24)["train"], {})
    model = copy_of(potential)
    refit(model, train, GOAL, "mse", 0, CONTEXT)
    best = held_out_ridge(model, train, GOAL, 0, CONTEXT)
    x_P = linear_part(model)
    x_P[: len(model.basis.scalars)] *= 0.5
    set_linear_part(model, x_P)
    assert held_out_ridge(model, train, GOAL, 0, CONTEXT) < best


def test_a_ridge_holds_the_linear_part_to_what_it_was(potential):
    train, model = WeightedSet.of(sets(24)["train"], {}), copy_of(potential)
    before = linear_part(model)
    moved = []
    for ridge in (0.0, 1.0, 1e6):
        set_linear_part(model, before)
        refit(model, train, GOAL, "mse", 0, CONTEXT, ridge)
        moved.append(float((linear_part(model) - before).norm()))
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 1e-4 * moved[0]


def test_fine_tuning_lowers_the_loss_that_it_began_with(tmp_path, potential):
    model, _ = tuned(tmp_path, potential, sets(12), stages=STAGES[:1])
    train = WeightedSet.of(sets(12)["train"], {})
    losses = []
    for each in (potential, model):
        found = equations(
            each, train, {"energy": 1e-5, "forces": 10.0, "stress": 1e-5}, train.everything, CONTEXT
        )
        x = linear_part(each)
        losses.append(float(x @ found.matrix_PP @ x - 2 * found.right_P @ x + found.square))
    assert losses[1] < losses[0]
    assert not torch.equal(parameters(model), parameters(potential))


@pytest.mark.parametrize("starts", [1, 2])
def test_a_search_begins_at_the_potential_and_never_ends_above_it(potential, starts):
    train = WeightedSet.of(sets(12)["train"], {})

    def loss(model):
        return loss_of(model, train, GOAL, "mse", train.everything, CONTEXT)

    model = copy_of(potential)
    losses = [loss(model)]
    for _ in range(2):
        found = search_from(model, train, GOAL, "mse", starts, 0, ROUNDS, CONTEXT)
        assert len(found) == starts + 1
        losses.append(loss(model))
    assert losses[0] > losses[1] >= losses[2]


def labelled_by(model, structures):
    """The same structures with the energies, forces and stresses of a potential."""
    found = []
    for number, structure in enumerate(structures.structures):
        made = model(structures.batch([number]))
        labels = {
            "energy": float(made.energy_S),
            "forces": made.forces_A3.detach().numpy(),
            "stress": made.stress_S6[0].detach().numpy(),
        }
        found.append(replace(structure, **labels))
    return InMemory(found)


def test_a_loss_that_is_no_number_is_above_every_other():
    assert lower(1.0, math.nan)
    assert not lower(math.nan, 1.0)
    assert not lower(math.nan, math.nan)
    assert lower(1.0, 2.0)
    assert not lower(2.0, 2.0)


def test_a_network_is_kept_where_it_predicts_and_given_up_where_it_does_not(tmp_path):
    """Labels that it made itself; labels that it never saw."""
    there = sets(24)
    network = trained(tmp_path / "network", there, widths=(4,), stages=STAGES[:1])
    own = {split: labelled_by(network, found) for split, found in there.items()}
    for name, start, structures in (("kept", network, own), ("not", noise(there["train"]), there)):
        _, records = tuned(tmp_path / name, start, structures, stages=STAGES[:1])
        assert [r["type"] for r in records][1] == "search"
        notes = [r["text"] for r in records if r["type"] == "note"]
        assert (LEFT in notes) == (name == "not")


def test_a_network_that_is_given_up_leaves_nothing_behind(tmp_path):
    """The stage begins where that of a training from scratch does."""
    there, begun = sets(24)["train"], []
    for tunes, model in ((True, noise(there)), (False, model_of(there, widths=(4,)))):
        given = plan(tmp_path, STAGES[:1])
        opening = Opening(
            given, WeightedSet.of(there, {}), CONTEXT, tunes, lambda kind, **content: None
        )
        opening.walk(model, STAGES[0], GOAL, first=True)
        begun.append(parameters(model))
    torch.testing.assert_close(*begun, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("zero", [0.0, 1e4])
def test_the_zero_of_an_element_that_is_left_out_does_not_keep_a_network(zero):
    there = sets(24)["train"].structures
    order = permutation(len(there), 0, 0)[::FOLDS]
    left_out = next(n for n in order if 29 in there[n].numbers)
    structures = [
        s if number == left_out else replace(s, numbers=np.where(s.numbers == 29, 28, s.numbers))
        for number, s in enumerate(there)
    ]
    structures[left_out] = shifted(structures[left_out], {29: zero})
    train = WeightedSet.of(InMemory(structures), {})
    start = noise(train.structures)
    assert lets_go(start, train, GOAL, 2, 0, ROUNDS[:1], CONTEXT)[0]


def test_parts_of_pairs_add_up_and_leave_no_mean():
    radial = torch.randn(4, 4, 2, 3, dtype=torch.float64)
    center, neighbor, own = parts_of(radial, torch.eye(3, dtype=torch.float64)[None, None])
    torch.testing.assert_close(center + neighbor + own, radial)
    assert float(own.mean(0).abs().max()) < 1e-7
    assert float(own.mean(1).abs().max()) < 1e-7


def test_what_pairs_share_in_units_of_their_size_leaves_no_rest():
    shape = RadialShape(cutoff=5.0, min_dist=0.5, n_q=6)
    stretch = stretches(shape, [0.6, 1.2, 1.5])
    shared = torch.randn(3, 1, 2, 6, dtype=torch.float64) + torch.randn(1, 3, 2, 6)
    _, _, rest = parts_of(shared.double() @ stretch, stretch)
    assert float(rest.abs().max()) < 1e-5


def test_a_stretched_function_is_the_same_at_larger_distances():
    """f(r / t), t the size of a pair by that of the mean pair; none where all are alike."""
    shape = RadialShape(cutoff=6.0, min_dist=0.5, n_q=8)
    coeffs = torch.tensor([1.0, 0.5, -0.3, 0.2, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    r = torch.linspace(1.2, 5, 100, dtype=torch.float64)  # beyond it the cutoff shows

    def f(coeffs, r):
        return radial_basis(r, shape.min_dist, shape.cutoff, shape.n_q, 1.0) @ coeffs

    for radii in ([1.0, 1.2], [1.3, 1.3]):
        stretch, mean = stretches(shape, radii), sum(radii)
        for z, w in product((0, 1), repeat=2):
            wanted = f(coeffs, r * mean / (radii[z] + radii[w]))
            found = f(coeffs @ stretch[z, w], r)
            assert float((found - wanted).abs().max()) < 0.01 * float(wanted.abs().max())


@pytest.mark.parametrize("radii", [[], [0.7, 1.1, 1.3]])
def test_shared_coordinates_make_the_same_potential(potential, radii):
    model = copy_of(potential)
    maps = Maps.identity(model).with_radial(torch.randn(5, 5).double() + 3 * torch.eye(5))
    SharedPairs(model, with_stretch(maps, model, radii)).apply(model)
    torch.testing.assert_close(parameters(model), parameters(potential))


def test_a_pair_that_no_structure_holds_follows_its_species():
    """The gradient of one pair moves the others of its species, not those of other species."""
    model = model_of(sets()["train"])
    keep_shared(model, ())
    before = model.radial_coeffs.detach().clone()
    walk = AdamWalk(model, SharedPairs(model, Maps.identity(model)))
    gradients = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    gradients["radial_coeffs"][0, 1] = 1.0
    walk.step(model, gradients, 0.01)
    moved = (model.radial_coeffs.detach() - before).abs().amax((-1, -2)) > 1e-6
    assert moved.tolist() == [[True, True, True], [False, True, False], [False, True, False]]


def test_a_walk_in_shared_coordinates_goes_on_from_its_state(potential):
    model = copy_of(potential)
    maps = with_stretch(Maps.identity(model), model, [0.7, 1.1, 1.3])
    walk = AdamWalk(model, SharedPairs(model, maps))
    walk.step(model, {name: torch.ones_like(p) for name, p in model.named_parameters()}, 0.01)
    there = copy_of(potential)
    other = AdamWalk.of_state(there, walk.state_dict())
    assert isinstance(other.coordinates, SharedPairs)
    assert torch.equal(parameters(there), parameters(model))
    assert CENTER in other.coordinates.walkers
    plain = AdamWalk(model, Coordinates(model, Maps.identity(model)))
    assert not isinstance(AdamWalk.of_state(model, plain.state_dict()).coordinates, SharedPairs)


def test_variable_projection_moves_every_pair_by_itself():
    stage = replace(STAGES[0], optimizer="varpro")
    with pytest.raises(UserError, match="share_pairs"):
        refuse_contradiction(Options(share_pairs=True), (stage,), ())


def test_a_training_in_shared_coordinates_lowers_the_loss(tmp_path):
    journal = ListJournal()
    trained(tmp_path, sets(12), journal, share_pairs=True)
    losses = [r["train"]["loss"] for r in journal.records if r.get("stage") == "stage_1"]
    assert losses[-1] < losses[0]
