"""The pictures of a run: readable files of modest size, whatever is missing."""

import subprocess
import sys

import numpy as np
import pytest

from lightpfp_ray.journal import records
from lightpfp_ray.plots import loss_plot, parity_plot

MOST = 200_000


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def pairs(n, seed):
    generator = np.random.default_rng(seed)
    sizes = {"energy": n, "forces": 192 * n, "stress": 6 * n}
    found = {}
    for label, size in sizes.items():
        reference = generator.normal(size=size)
        found[label] = reference, reference + 0.05 * generator.normal(size=size)
    return found


def test_a_parity_plot_of_many_structures_is_small(tmp_path):
    parity_plot({"train": pairs(1000, 0), "test": pairs(100, 1)}, tmp_path / "parity.png")
    assert is_png(tmp_path / "parity.png")
    assert (tmp_path / "parity.png").stat().st_size < MOST


@pytest.mark.parametrize("n", [0, 1])
def test_a_parity_plot_needs_no_label_and_no_spread(tmp_path, n):
    parity_plot({"train": pairs(n, 0), "test": pairs(0, 1)}, tmp_path / "parity.png")
    assert is_png(tmp_path / "parity.png")


def test_a_loss_plot_of_any_beginning_of_a_journal(tmp_path, trained_folder):
    written = records(trained_folder.journal)
    for n in (0, 1, 2, 5, len(written)):
        loss_plot(written[:n], tmp_path / f"{n}.png")
        assert is_png(tmp_path / f"{n}.png")
        assert (tmp_path / f"{n}.png").stat().st_size < MOST


def test_a_loss_plot_without_a_test_set(tmp_path, trained_folder):
    written = [
        {**r, "test": dict.fromkeys(r["test"])} if "test" in r else r
        for r in records(trained_folder.journal)
    ]
    loss_plot(written, tmp_path / "losses.png")
    assert is_png(tmp_path / "losses.png")


def test_plots_touch_no_global_state_of_matplotlib():
    code = "import sys, lightpfp_ray.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
