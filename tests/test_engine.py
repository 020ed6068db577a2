"""The compiled engine is the torch engine: energies, forces, stress, gradients, bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp.engine import compiled, default_engine, description, torch_engine
from lightpfp_ray.mtp.levels import Basis, Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape

pytestmark = pytest.mark.skipif(
    compiled.native() is None, reason="the compiled engine is not built: see CMakeLists.txt"
)

CUTOFF = 4.0
EXACT, GRADIENT = 1e-11, 1e-9  # float64, relative to the largest number of a kind


def model_of(levels, species=(13,), widths=(), repulsion=False, n_q=5, seed=0):
    """A potential with random parameters and forces of about 1 eV/A."""
    torch.manual_seed(seed)
    model = MTP(species, make_basis(levels), RadialShape(CUTOFF, 1.7, n_q, 0.1, repulsion), widths)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
        if widths:
            model.readout.layers[0].weight.mul_(0.1)
    return model


def structure(n_atoms, species, pbc=True, seed=0, spacing=2.4):
    """Atoms about `spacing` apart in a skewed cell, or without one."""
    rng = np.random.default_rng(seed)
    n = round(np.ceil(n_atoms ** (1 / 3)))
    grid = np.array(list(np.ndindex(n, n, n)))[:n_atoms] + 0.1 * rng.normal(size=(n_atoms, 3))
    skew = np.array([[1, 0.1, 0], [-0.3, 1, 0.2], [0.1, 0, 1.1]])
    cell = n * spacing * skew if pbc else np.zeros((3, 3))
    numbers = np.array(species)[np.arange(n_atoms) % len(species)]
    return Structure(numbers, spacing * grid @ skew, cell, np.array([pbc] * 3))


def batch_of(*structures):
    return batch_from_structures(structures, CUTOFF)


def mixed_batch(species):
    """A crystal, a cluster, a cell of one atom, an atom alone, a cell of two atoms."""
    return batch_of(
        structure(27, species),
        structure(11, species, pbc=False, seed=1),
        structure(1, species[-1:], seed=2),
        structure(1, species[:1], pbc=False),
        structure(2, species, seed=3, spacing=3.0),
    )


def outputs(prediction):
    return {
        "energy": prediction.energy_S,
        "energies": prediction.energies_A,
        "forces": prediction.forces_A3,
        "stress": prediction.stress_S6,
    }


def assert_close(found, expected, tolerance, what):
    """Same NaN, and differences within `tolerance` of the largest number."""
    found, expected = found.detach().double(), expected.detach().double()
    assert torch.equal(found.isnan(), expected.isnan()), what
    found, expected = found.nan_to_num(), expected.nan_to_num()
    size = float(expected.abs().max()) if expected.numel() else 0.0
    assert float((found - expected).abs().max() if size else 0.0) <= tolerance * size, what


def loss_gradient(engine, model, batch):
    """Gradient of a loss that holds every part of a prediction, each with its own weight."""
    model.zero_grad()
    generator = torch.Generator().manual_seed(7)
    prediction = engine(model, batch, training=True)
    loss = 0.0
    for part in outputs(prediction).values():
        target = torch.randn(part.shape, generator=generator, dtype=torch.float64).to(part.device)
        residual = torch.where(part.isnan(), torch.zeros_like(part), part - target)
        loss = loss + (residual.double() ** 2).sum() + 0.3 * residual.double().abs().sum()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


CASES = {
    "level 2": {"levels": Levels(2)},
    "level 6": {"levels": Levels(6), "species": (13, 28)},
    "level 12": {"levels": Levels(12), "species": (13, 28)},
    "level 16": {"levels": Levels(16)},
    "SMALL": {"levels": Levels(8, mu_cost=1), "species": (13, 28, 29, 47, 79), "n_q": 8},
    "other costs": {"levels": Levels(9, 1, 2, 2), "species": (13, 28), "n_q": 1},
    "one radial function": {"levels": Levels(9, 1, 9, 1), "n_q": 2},
    "neural": {"levels": Levels(8), "species": (13, 28), "widths": (9, 6)},
    "one layer": {"levels": Levels(8, mu_cost=1), "widths": (5,)},
    "three layers": {"levels": Levels(6), "species": (28, 13), "widths": (4, 1, 7)},
    "repulsion": {"levels": Levels(8), "species": (13, 28), "repulsion": True},
    "89 species": {"levels": Levels(6), "species": tuple(range(1, 90))},
}


@pytest.fixture(params=CASES)
def case(request):
    """A potential, and structures of its first, last and other species."""
    options = CASES[request.param]
    species = options.get("species", (13,))
    batch = mixed_batch(species[-5:])
    if options.get("repulsion"):
        batch = batch_of(structure(8, species, spacing=1.6), structure(3, species, pbc=False))
    return model_of(**options), batch


def test_energies_forces_and_stress_are_those_of_the_torch_engine(case):
    model, batch = case
    found = outputs(compiled.evaluate(model, batch, training=False))
    for name, expected in outputs(torch_engine.evaluate(model, batch, training=False)).items():
        assert_close(found[name], expected, EXACT, name)
        assert found[name].dtype == expected.dtype
        assert not found[name].requires_grad


def test_the_gradient_of_a_loss_is_that_of_the_torch_engine(case):
    model, batch = case
    found = loss_gradient(compiled.evaluate, model, batch)
    for name, expected in loss_gradient(torch_engine.evaluate, model, batch).items():
        assert_close(found[name], expected, GRADIENT, name)


def test_float32_is_float64_to_its_rounding(case):
    """Sums of some 50 terms, each rounded to 6e-8, through products of four moments."""
    model, batch = case
    exact = outputs(compiled.evaluate(model, batch, training=False))
    gradient = loss_gradient(compiled.evaluate, model, batch)
    model.float()
    rounded = {
        name: value.double()
        for name, value in outputs(compiled.evaluate(model, batch, training=False)).items()
    }
    for name, expected in exact.items():
        assert_close(rounded[name], expected, 1e-4, name)
    for name, found in loss_gradient(compiled.evaluate, model, batch).items():
        assert found.dtype == torch.float32
        assert_close(found, gradient[name], 1e-3, name)


@pytest.mark.parametrize(
    ("dtype", "exact", "gradient"),
    [(torch.float64, EXACT, GRADIENT), (torch.float32, 1e-5, 1e-4)],
    ids=str,
)
def test_neurons_far_from_zero_are_those_of_the_torch_engine(dtype, exact, gradient):
    """Where exp would overflow, is 1, or is lost beside 1; float32 rounds each term to 6e-8."""
    model = model_of(Levels(8), widths=(21,))
    sizes = torch.tensor([0.0, 1e-9, 0.3, 2, 8, 17, 40, 88, 104, 710, 1e4])
    with torch.no_grad():
        model.readout.layers[0].bias.copy_(torch.cat([-sizes, sizes[1:]]))
    batch = batch_of(structure(27, (13,)))
    expected = outputs(torch_engine.evaluate(model, batch, training=False))
    slopes = loss_gradient(torch_engine.evaluate, model, batch)
    model.to(dtype)
    for name, found in outputs(compiled.evaluate(model, batch, training=False)).items():
        assert_close(found, expected[name], exact, name)
    for name, found in loss_gradient(compiled.evaluate, model, batch).items():
        assert_close(found, slopes[name], gradient, name)


def test_the_caller_keeps_numbers_that_are_tiny():
    """The engine rounds them to zero while it computes, on the threads that it was given."""
    model, batch = model_of(Levels(4)).float(), batch_of(structure(3, (13,)))
    tiny = torch.tensor(1e-40)
    loss_gradient(compiled.evaluate, model, batch)
    assert float(tiny * 0.5) > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_number_of_threads_changes_no_bit(dtype):
    model = model_of(Levels(8), (13, 28), (4,)).to(dtype)
    batch = batch_of(structure(150, (13, 28)), structure(90, (28,), seed=1))
    before, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found = outputs(compiled.evaluate(model, batch, training=False))
            results.append(
                [*found.values(), *loss_gradient(compiled.evaluate, model, batch).values()]
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", compiled.native().instruction_sets() if compiled.native() else [])
def test_every_instruction_set_gives_the_same(name, monkeypatch):
    model, batch = model_of(Levels(10), (13, 28), (6, 4)), mixed_batch((13, 28))
    program = compiled.new_program(model.basis, name)
    monkeypatch.setattr(compiled, "program_of", lambda model: program)
    found = outputs(compiled.evaluate(model, batch, training=False))
    for label, expected in outputs(torch_engine.evaluate(model, batch, training=False)).items():
        assert_close(found[label], expected, EXACT, label)
    found = loss_gradient(compiled.evaluate, model, batch)
    for label, expected in loss_gradient(torch_engine.evaluate, model, batch).items():
        assert_close(found[label], expected, GRADIENT, label)


def test_an_empty_batch_has_no_energies():
    prediction = compiled.evaluate(model_of(Levels(6)), batch_of(), training=False)
    assert all(part.numel() == 0 for part in outputs(prediction).values())


def test_edges_beyond_the_cutoff_add_nothing():
    model, atoms = model_of(Levels(8)), structure(27, (13,))
    near = compiled.evaluate(model, batch_from_structures([atoms], CUTOFF), training=False)
    far = compiled.evaluate(model, batch_from_structures([atoms], CUTOFF + 1), training=False)
    for a, b in zip(outputs(near).values(), outputs(far).values(), strict=True):
        assert_close(b, a, 1e-14, "skin")


def test_products_in_any_order_and_never_used_ones_are_run():
    components = ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    products = ((4, 0, 1, 5), (1, 1, 1, 4), (2, 2, 1, 4), (3, 3, 1, 4), (0, 0, 3, 6))
    ordered = MTP([13], Basis(components, (*products[1:4], products[0]), (0, 4, 5)), RADIAL)
    shuffled = MTP([13], Basis(components, products, (0, 4, 5)), RADIAL)
    torch.manual_seed(0)
    with torch.no_grad():
        for a, b in zip(ordered.parameters(), shuffled.parameters(), strict=True):
            b.copy_(a.copy_(torch.randn_like(a)))
    batch = mixed_batch((13,))
    expected = torch_engine.evaluate(ordered, batch, training=False)
    found = compiled.evaluate(shuffled, batch, training=False)
    assert_close(found.forces_A3, expected.forces_A3, EXACT, "forces")


RADIAL = RadialShape(CUTOFF, 1.7, 3, 0.1)


@pytest.mark.parametrize(
    ("products", "scalars"),
    [
        (((5, 0, 1, 4),), (4,)),
        (((4, 0, 1, 4),), (4,)),
        (((0, 0, 1, 1),), (1,)),
        ((), (9,)),
        ((), (-1,)),
        (((0, 99, 1, 4),), (0,)),
    ],
    ids=["undefined", "cycle", "component", "no moment", "negative", "no factor"],
)
def test_a_program_that_cannot_run_is_refused(products, scalars):
    components = ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    with pytest.raises(ValueError, match=r"moment|scalar|component"):
        compiled.new_program(Basis(components, products, scalars), compiled.instruction_set())


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


BAD = {
    "not finite": lambda b: {"positions_A3": changed(b.positions_A3, (3, 1), torch.nan)},
    "cell of structure 1 is not": lambda b: {"cell_S33": changed(b.cell_S33, (1, 0, 0), torch.inf)},
    "a neighbor lies outside": lambda b: {"neighbors_N": changed(b.neighbors_N, 5, 27)},
    "a neighbor lies outside the": lambda b: {"neighbors_N": changed(b.neighbors_N, 5, -1)},
    "neighbor lies outside the": lambda b: {"neighbors_N": changed(b.neighbors_N, 5, 2**31 - 1)},
    "lies outside the structure": lambda b: {"neighbors_N": changed(b.neighbors_N, 5, -(2**31))},
    "edges are out of range": lambda b: {"first_edge_A": changed(b.first_edge_A, -1, 10**15)},
    "edges are out of": lambda b: {"first_edge_A": changed(b.first_edge_A, 0, -1)},
    "edges are": lambda b: {"n_edges_A": changed(b.n_edges_A, 2, -5)},
    "not ascending": lambda b: {"structure_A": changed(b.structure_A, 0, 1)},
    "ascending or out of range": lambda b: {"structure_A": changed(b.structure_A, -1, 99)},
    "not among the potential's species": lambda b: {"numbers_A": changed(b.numbers_A, 4, 26)},
    "not among the potential's": lambda b: {"numbers_A": changed(b.numbers_A, 4, -3)},
    "positions_A3: expected": lambda b: {"positions_A3": b.positions_A3[:, :2]},
    "positions_A3: expected shape": lambda b: {"positions_A3": b.positions_A3.float()},
    "neighbors_N: expected": lambda b: {"neighbors_N": b.neighbors_N.long()},
    "shifts_N3: expected": lambda b: {"shifts_N3": b.shifts_N3[:-1]},
    "volume_S: expected": lambda b: {"volume_S": b.volume_S[:-1]},
    "n_edges_A: expected": lambda b: {"n_edges_A": b.n_edges_A[1:]},
}


@pytest.mark.parametrize("message", BAD)
@pytest.mark.parametrize("training", [False, True])
def test_bad_input_is_refused(message, training):
    batch = mixed_batch((13,))
    with pytest.raises(ValueError, match=message):
        compiled.evaluate(model_of(Levels(6)), replace(batch, **BAD[message](batch)), training)


def test_the_default_engine_is_the_compiled_one_and_is_named():
    model, batch = model_of(Levels(8)), mixed_batch((13,))
    assert model.engine is default_engine
    assert torch.equal(model(batch).forces_A3, compiled.evaluate(model, batch, False).forces_A3)
    assert description() == f"compiled engine, {compiled.instruction_set()}"


def test_without_the_compiled_module_torch_takes_its_place_and_says_so_once(monkeypatch, caplog):
    model, batch = model_of(Levels(8)), mixed_batch((13,))
    expected = torch_engine.evaluate(model, batch, training=False)
    monkeypatch.setattr(compiled, "native", lambda: None)
    default_engine.__globals__["_say_what_is_missing"].cache_clear()
    for _ in range(2):
        assert torch.equal(model(batch).forces_A3, expected.forces_A3)
    assert [r.message.split(" in ")[0] for r in caplog.records] == [
        "The compiled engine is not built"
    ]
    assert "torch" in description()
