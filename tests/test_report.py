"""The report tells the whole run in one page; the self-check finds a potential that is not the
trained one.
"""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from lightpfp_ray import Potential, load
from lightpfp_ray.comparison import compare
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.evaluation import evaluate
from lightpfp_ray.journal import Journal
from lightpfp_ray.output import OutputFolder
from lightpfp_ray.report import _asked, _stages, write_report
from lightpfp_ray.selfcheck import EXPORTED, SelfCheckError, atoms_of, self_check
from lightpfp_ray.training.context import LocalContext
from lightpfp_ray.training.loop import Loop

from .data_samples import metals, oddities, prepared, written
from .test_laws import potential
from .training_samples import CUTOFF, STAGES, model_of, plan

CONTROL = {
    "common_config": {"reload_model": None},
    "mtp_config": {
        "rc": CUTOFF,
        "levmax": 8,
        "n_q": 5,
        "moment_init_cost": 2,
        "moment_mu_cost": 4,
        "moment_nu_cost": 1,
        "nn_dim_list": [],
    },
    "multistage_config": {
        "lr_list": [0.1, 0.01],
        "epoch_list": [3, 4],
        "energy_loss_coeff_list": [1e-05, 1.0],
        "forces_loss_coeff_list": [10.0, 0.1],
        "stress_loss_coeff_list": [1e-05, 10.0],
        "loss_func_list": ["mse", "l1"],
        "use_calib_stage": True,
        "calibration_lr": 0.01,
        "calibration_epoch": 3,
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training: its folder, its sets, its errors."""
    folder = tmp_path_factory.mktemp("run")
    images = metals(30) + oddities()[2:3]
    for n, atoms in enumerate(images):
        atoms.info["config_type"] = f"<group {n % 3}>"
    source = written(folder / "metals.extxyz", images)
    manifest = prepared(folder / "cache", source, CUTOFF, test_fraction=0.3)
    sets = {split: StructureSet.open(folder / "cache", split) for split in ("train", "test")}
    output = OutputFolder(folder / "output")
    output.begin(CONTROL, {**manifest.as_dict(), "skipped": {"no atoms": 2}})
    model = model_of(sets["train"])
    loop = Loop(
        plan(folder / "checkpoints", STAGES), model, sets, LocalContext(), Journal(output.journal)
    )
    Potential(loop.run(), {}).save(output.potential)
    end = json.loads(output.journal.read_text().splitlines()[-1])
    return output, sets, end


@pytest.fixture(scope="module")
def page(run):
    output, sets, end = run
    model = load(output.path).model
    compared = {split: compare(model, sets[split], 1000) for split in sets}
    metrics = {s: {**end[s], "structures": len(sets[s])} for s in sets}
    published = {"published": {"structures": 9, "energy_mae": 0.01234}}
    check = self_check(output.potential, sets["test"], end["test"])
    write_report(output, metrics, compared, {"workers": 3}, published, check)
    return output.report.read_text()


class Reader(HTMLParser):
    """Text of a page, what it would fetch, and whether its tags are closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.fetched, self.images = [], "", [], 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "link", "br", "hr"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href") and not value.startswith(("data:", "#")):
                self.fetched.append(value)
            self.images += tag == "img" and name == "src"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def test_the_page_stands_by_itself(page):
    read = Reader(page)
    assert read.open == []
    assert read.fetched == []
    assert "url(" not in page
    assert "<script" not in page
    assert len(page) < 3e6
    assert read.images == 6  # losses, parity, histograms, two of groups, one of elements


def test_the_page_tells_the_run(page, run):
    output, _, end = run
    text = Reader(page).text
    calibration = next(
        r
        for r in map(json.loads, output.journal.read_text().splitlines())
        if r["type"] == "calibration"
    )
    for expected in (
        f"{calibration['energy_coeff']:.4g}",
        f"{1e3 * end['test']['forces_rmse']:.4g}",
        "12.34",
        "no atoms",
        "<group 1>",
        "metals.extxyz#",
        "exported file",
        "Al",
        "Ni",
    ):
        assert expected in text
    assert "<group" not in page


def test_what_the_training_noted_stands_beside_what_was_asked():
    journal = [{"type": "note", "text": "E0 of <Al> is not known"}]
    assert "Note: E0 of &lt;Al&gt; is not known." in _asked(CONTROL, journal)


def test_of_a_polish_the_epochs_count_that_were_not_taken_back():
    config = CONTROL["multistage_config"]
    journal = [{"type": "epoch", "stage": "polish"}] * 8
    journal.append({"type": "stop", "stage": "polish", "taken_back": 5})
    name, epochs, *_ = list(_stages(config, journal))[-1]
    assert (name, epochs) == ("polish", 3)
    assert "polish" not in [row[0] for row in _stages(config, [])]


def test_the_worst_structures_are_those_with_the_largest_errors(page, run):
    output, sets, _ = run
    model = load(output.path).model
    found = []
    for split in sets:
        for n in range(len(sets[split])):
            batch = sets[split].batch([n])
            error = (model(batch).forces_A3 - batch.forces_A3).square().mean().sqrt()
            found.append((float(error.nan_to_num(0)), sets[split].source(n)))
    worst = [source for _, source in sorted(found, reverse=True)[:10]]
    section = page.split("Largest errors of forces")[1].split("Largest errors of energy")[0]
    assert re.findall(r"metals\.extxyz#\d+", section) == worst


def test_a_comparison_has_the_errors_of_the_evaluation(run):
    output, sets, _ = run
    model = load(output.path).model
    found = compare(model, sets["test"], 1000)
    expected = evaluate(model, [sets["test"].batch(np.arange(len(sets["test"])))])
    for label, (reference, prediction) in found.pairs.items():
        difference = prediction - reference
        assert np.abs(difference).mean() == pytest.approx(expected[f"{label}_mae"], rel=1e-9)
        assert np.sqrt(np.mean(difference**2)) == pytest.approx(expected[f"{label}_rmse"], rel=1e-9)
    halves = [found.of_structures(np.arange(len(found.sources)) % 2 == k) for k in (0, 1)]
    assert sum(len(half.forces) for half in halves) == len(found.forces)
    assert halves[1].sources == found.sources[1::2]


def test_a_report_without_groups_and_labels_says_so(run, tmp_path):
    output, sets, end = run
    other = OutputFolder(tmp_path)
    other.begin(CONTROL, {**json.loads(output.data.read_text()), "skipped": {}})
    other.journal.write_bytes(output.journal.read_bytes())
    found = compare(load(output.path).model, sets["test"], 1000)
    bare = {
        split: type(found)(
            found.n_structures,
            found.sources,
            np.full(len(found.groups), "", dtype=object),
            found.numbers_A,
            found.structure_A,
            *(np.full_like(x, np.nan) for x in (found.energy_S2, found.forces_A32)),
            np.full_like(found.stress_S62, np.nan),
        )
        for split in sets
    }
    write_report(other, {"test": dict.fromkeys(end["test"])}, bare)
    text = Reader(other.report.read_text()).text
    assert "No structure has energies or forces." in text
    assert "No structure was skipped." in text
    assert "Not made." in text


def test_all_ways_to_a_potential_agree(run):
    output, sets, end = run
    found = self_check(output.potential, sets["test"], end["test"])
    assert list(found) == ["training loop", "calculator", "exported file"]
    assert max(max(d.values()) for d in found.values()) < 1e-9
    assert (output.potential / EXPORTED).exists()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_folder_that_is_not_what_was_trained_is_found(run, tmp_path, precision):
    output, sets, end = run
    model = load(output.path).model
    with torch.no_grad():
        model.species_coeffs += 0.005
    Potential(model.to(getattr(torch, precision)), {}).save(tmp_path)
    with pytest.raises(SelfCheckError, match="energy of the training loop"):
        self_check(tmp_path, sets["test"], end["test"])


def test_a_potential_in_single_precision_agrees_within_it(run, tmp_path):
    output, sets, end = run
    Potential(load(output.path).model.float(), {}).save(tmp_path)
    self_check(tmp_path, sets["test"], end["test"])


def test_a_neural_readout_has_no_exported_file(run, tmp_path):
    _, sets, _ = run
    model = model_of(sets["train"], widths=(8,))
    Potential(model, {}).save(tmp_path)
    errors = evaluate(model, [sets["test"].batch(np.arange(len(sets["test"])))])
    assert list(self_check(tmp_path, sets["test"], errors)) == ["training loop", "calculator"]
    assert not (tmp_path / EXPORTED).exists()


def test_atoms_of_a_batch_have_its_edges():
    """Slab, cluster, one-atom cell: which vectors are periodic is read off the edges."""
    from lightpfp_ray.data.ase_files import structure_of
    from lightpfp_ray.data.collate import batch_from_structures

    for atoms in oddities():
        if set(atoms.numbers) - {13, 28}:
            atoms.numbers[:] = 13
        batch = batch_from_structures([structure_of(atoms)], 4.0)
        again = batch_from_structures([structure_of(atoms_of(batch))], 4.0)
        model = potential()
        assert float(model(batch).energy_S) == float(model(again).energy_S)
