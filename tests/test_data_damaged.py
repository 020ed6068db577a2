"""Damaged files are refused in a line, or their structures counted: some cases of the benchmark."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
CASES = 60


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_damaged_file_is_refused_in_one_line_or_taken(fuzz, tmp_path):
    clean = fuzz.samples(tmp_path / "clean")
    for case in range(900_000, 900_000 + CASES):
        path = fuzz.damaged(clean, tmp_path / "damaged", case)
        outcome = fuzz.outcome_of(path)
        assert outcome["outcome"] in ("refused", "taken"), (case, path, outcome["text"])


@pytest.mark.parametrize("cell", ["1e-3 0 0 0 1e-3 0 0 0 1e-3", "1e9 0 0 0 1e9 0 0 0 1e9"])
@pytest.mark.parametrize("pbc", ["T T T", "T F T", "F F F"])
def test_cells_of_absurd_size_are_skipped_or_kept_in_a_moment(fuzz, tmp_path, cell, pbc):
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / "a.extxyz"
    comment = f'Lattice="{cell}" Properties=species:S:1:pos:R:3 energy=-1 pbc="{pbc}"'
    path.write_text(f"2\n{comment}\nCu 0 0 0\nCu 1 2 3\n")
    assert fuzz.outcome_of(path)["outcome"] == "taken"
