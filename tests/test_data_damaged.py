"""Damaged files are refused in a line, or their structures counted: some cases of the benchmark."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CASES = 60


@pytest.fixture(scope="module")
def fuzz():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("fuzz")


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
