"""The doctor finds each fault that is put into a clean set, and none in the clean set."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lightpfp_ray.cli.doctor import doctor
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.data.write import writing
from lightpfp_ray.doctor.examine import examine, summary
from lightpfp_ray.doctor.findings import LEVELS

from .doctor_samples import FAULTS, clean

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = {"mlearn/Si_train": set(), "InP/InP_train": {"duplicates"}}
"""Set -> true findings above note: InP holds 79 structures twice."""

SAMPLE_ATOMS = 3000
"""Less than the command takes: the suite has to be quick."""

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")


@pytest.fixture(scope="module")
def structures():
    return clean()


def above_note(findings):
    return {finding.kind for finding in findings if finding.level != "note"}


def saved(path, structures):
    with writing(path) as add:
        for structure in structures:
            add(structure)
    return path


def run(*arguments):
    return CliRunner().invoke(doctor, [str(a) for a in arguments], catch_exceptions=False)


def test_a_clean_set_has_no_finding_above_note(structures):
    assert above_note(examine(structures).findings) == set()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_name(structures, fault):
    put_in, kinds, words = FAULTS[fault]
    findings = examine(put_in(structures, np.random.default_rng(3))).findings
    assert above_note(findings)
    assert above_note(findings) <= kinds
    assert words in " ".join(finding.line() for finding in findings)


@needs_data
@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("name", SETS)
def test_faults_are_found_in_sets_of_dft(name, fault):
    found = list(read_structures(SHARED / f"{name}.extxyz"))
    if fault is None:
        assert above_note(examine(found, SAMPLE_ATOMS).findings) == SETS[name]
        return
    put_in, kinds, words = FAULTS[fault]
    report = examine(put_in(found, np.random.default_rng(3)), SAMPLE_ATOMS)
    assert above_note(report.findings) & kinds
    assert words in " ".join(finding.line() for finding in report.findings)
    # InP's twins get other labels where a fault falls on one of them
    assert above_note(report.findings) <= kinds | SETS[name] | {"other labels"}


def test_a_constant_stress_is_a_note_with_its_size(structures):
    shifted = [
        replace(s, stress=s.stress - np.array([0.01, 0.01, 0.01, 0, 0, 0])) for s in structures
    ]
    (finding,) = [f for f in examine(shifted).findings if f.kind == "stress offset"]
    assert finding.level == "note"
    assert "-1.6" in finding.what


def test_labels_that_are_missing_or_of_no_use_are_told(structures):
    some = [replace(s, forces=None) if i < 9 else s for i, s in enumerate(structures)]
    some[20] = replace(some[20], energy=np.nan)
    some[21] = replace(some[21], pbc=np.array([True, True, False]))
    some[22] = replace(some[22], stress=np.zeros(6))
    findings = {f.kind: f for f in examine(some).findings}
    assert findings["missing forces"].where[:2] == ("a.extxyz#0", "a.extxyz#1")
    assert findings["skipped"].where == ("a.extxyz#20",)
    assert findings["stress not periodic"].where == ("a.extxyz#21",)
    assert findings["zero stress"].where == ("a.extxyz#22",)


def test_the_same_atoms_with_other_labels_are_told(structures):
    twin = replace(structures[3], energy=structures[3].energy + 1.0, source="b.extxyz#0")
    findings = {f.kind: f for f in examine([*structures, twin]).findings}
    assert findings["other labels"].where == ("a.extxyz#3", "b.extxyz#0")


def test_the_order_of_structures_changes_no_finding(structures):
    put_in = FAULTS["two settings"][0]
    bad = put_in(structures, np.random.default_rng(0))
    first, second = examine(bad), examine(bad[::-1])
    assert [f.kind for f in first.findings] == [f.kind for f in second.findings]


def test_free_atoms_are_no_outliers_and_periodicity_makes_other_atoms(structures):
    free = Structure(
        numbers=np.array([29]),
        positions=np.zeros((1, 3)),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, bool),
        energy=9.0,
        forces=np.zeros((1, 3)),
    )
    slab = replace(structures[5], pbc=np.array([True, True, False]), stress=None)
    assert above_note(examine([*structures, free, slab]).findings) <= {"missing stress"}


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_few_structures_are_no_trouble(structures, count):
    report = examine(structures[:count])
    assert above_note(report.findings) == set()
    assert summary(report.survey)["structures"] == count


def test_the_command_tells_writes_a_page_and_says_by_its_code(tmp_path, structures):
    good = saved(tmp_path / "good.extxyz", structures)
    result = run("--data", good)
    assert (result.exit_code, "nothing was found" in result.output) == (0, True)
    turned = FAULTS["stress sign"][0](structures, None)
    bad = saved(tmp_path / "bad.extxyz", turned)
    result = run("--data", bad, "--html", tmp_path / "doctor.html")
    assert result.exit_code == 2
    assert "error: stress has the wrong sign" in result.output
    page = (tmp_path / "doctor.html").read_text()
    assert "stress has the wrong sign" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    content = json.loads(run("--data", bad, "--json").output)
    assert content["summary"]["structures"] == len(structures)
    assert [f["kind"] for f in content["findings"]] == ["stress sign"]
    assert all(f["level"] in LEVELS for f in content["findings"])
