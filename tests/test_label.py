"""`lightpfp-ray label` on a real Ray: labels, failures, and a command that is killed and given
again.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from lightpfp_ray.cli import main
from lightpfp_ray.data.keys import KNOWN_NAMES
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.teachers import load_teacher
from lightpfp_ray.teachers.chunks import CHUNK_ATOMS, chunks_of

from .data_samples import metals, oddities, written
from .test_data_read import assert_same

TEACHER = "ase.calculators.emt:EMT"

SLOW = """
import os, time
from pathlib import Path
from ase.calculators.emt import EMT

HERE = Path(__file__).parent

class Slow(EMT):
    def __init__(self):
        super().__init__()
        self.slow = (HERE / "slow").exists()

    def calculate(self, atoms=None, *arguments):
        with (HERE / ("before" if self.slow else "after")).open("a") as file:
            print(os.getpid(), file=file)
        time.sleep(0.05 * self.slow)
        super().calculate(atoms, *arguments)
"""
"""A teacher that notes, for each structure that it is given, its process; before the kill and
after.
"""

DEADLY = """
import os, signal
from ase.calculators.emt import EMT

class Deadly(EMT):
    def calculate(self, atoms=None, *arguments):
        if len(atoms) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(atoms, *arguments)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label(*arguments, teacher=TEACHER):
    main(["label", "--teacher", teacher, "--workers", "2", *map(str, arguments)])


def refusal(capsys, *arguments, teacher=TEACHER):
    with pytest.raises(SystemExit) as caught:
        label(*arguments, teacher=teacher)
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def large_cells(count):
    """Cells of 32 atoms, so that a few make a chunk."""
    rng = np.random.default_rng(0)
    cells = [bulk("Cu", cubic=True).repeat(2) for _ in range(count)]
    for atoms in cells:
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    return cells


class killed_at_the_end:
    """The command as a process of its own."""

    def __init__(self, arguments, folder):
        root = str(Path(__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lightpfp_ray.cli", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()


def wait_until(true, timeout_s=120):
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)


def test_chunks_are_all_structures_once_in_order_and_of_like_cost(folder):
    cells = large_cells(40)
    first = written(folder / "a.extxyz", cells[:25] + metals(50))
    second = written(folder / "b.traj", cells[25:])
    paths = [first, second]
    chunks = chunks_of(paths, KNOWN_NAMES)
    found = [s.source for chunk in chunks for s in chunk.structures()]
    assert found == [s.source for path in paths for s in read_structures(path)]
    assert [chunk.atoms for chunk in chunks] == [
        sum(len(s.numbers) for s in chunk.structures()) for chunk in chunks
    ]
    assert max(chunk.atoms for chunk in chunks) < CHUNK_ATOMS + 32
    assert len(chunks) == 4


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("suffix", ["extxyz", "cfg", "h5", "parquet"])
def test_structures_get_the_labels_and_the_name_of_the_teacher(folder, suffix):
    images = metals(6)
    for atoms in images:
        atoms.info["config_type"] = "rattled"
    path = written(folder / "in.extxyz", images)
    output = folder / f"out.{suffix}"
    label(path, output)
    given = list(read_structures(path))
    for structure, before in zip(read_structures(output), given, strict=True):
        atoms = Atoms(before.numbers, before.positions, cell=before.cell, pbc=True)
        atoms.calc = EMT()
        assert structure.energy == atoms.get_potential_energy()
        np.testing.assert_array_equal(structure.forces, atoms.get_forces())
        np.testing.assert_array_equal(structure.stress, atoms.get_stress())
        assert structure.group == "rattled"
        assert structure.teacher == load_teacher(TEACHER).title
    record = json.loads((folder / f"out.{suffix}.json").read_text())
    assert (record["teacher"], record["structures"]) == (TEACHER, 6)
    assert {p.name for p in folder.iterdir()} == {"in.extxyz", output.name, f"{output.name}.json"}


@pytest.mark.usefixtures("ray_cluster")
def test_failures_are_counted_with_their_reasons_and_stop_nothing(folder, capsys):
    (folder / "deadly.py").write_text(DEADLY)
    path = written(folder / "in.extxyz", [*metals(3), bulk("Si"), molecule("H2O"), *oddities()[3:]])
    label(path, folder / "out.extxyz", teacher="deadly:Deadly")
    said = capsys.readouterr().out
    assert "wrote 4 structures" in said
    assert "skipped 2 (1: NotImplementedError: No EMT-potential for Si; 1: the process of" in said
    with (folder / "out.extxyz.skipped.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["source", "reason"],
            ["in.extxyz#3", "NotImplementedError: No EMT-potential for Si"],
            ["in.extxyz#4", "the process of the teacher died 2 times in it"],
        ]
    found = list(read_structures(folder / "out.extxyz"))
    assert [s.stress is None for s in found] == [False, False, False, True]


def test_a_killed_command_goes_on_and_ends_in_the_file_of_an_undisturbed_one(
    ray_cluster, folder, capsys
):
    (folder / "slow_teacher.py").write_text(SLOW)
    (folder / "slow").touch()
    path = written(folder / "in.extxyz", [*large_cells(70), bulk("Si")])
    output, parts = folder / "out.extxyz", folder / ".out.extxyz.parts"
    address = ray_cluster.get_runtime_context().gcs_address
    command = ["label", "--teacher", "slow_teacher:Slow", "--address", address, "--workers", "2"]
    with killed_at_the_end([*command, str(path), str(output)], folder):
        wait_until(lambda: len(list(parts.glob("*.arrow"))) >= 1)
    (folder / "slow").unlink()
    workers = {Path("/proc", pid) for pid in (folder / "before").read_text().split()}
    wait_until(lambda: not any(worker.exists() for worker in workers))
    assert not output.exists()
    chunks = chunks_of([path], KNOWN_NAMES)
    left = sum(chunk.count for chunk in chunks if not chunk.part(parts).exists())
    assert 0 < left < 71
    label(path, output, teacher="slow_teacher:Slow")
    assert f"{71 - left} of them before" in capsys.readouterr().out
    assert len((folder / "after").read_text().splitlines()) == left
    label(path, folder / "undisturbed.extxyz", teacher="slow_teacher:Slow")
    assert output.read_bytes() == (folder / "undisturbed.extxyz").read_bytes()
    skipped = [folder / f"{name}.extxyz.skipped.csv" for name in ("out", "undisturbed")]
    assert skipped[0].read_bytes() == skipped[1].read_bytes()
    assert not parts.exists()


@pytest.mark.usefixtures("ray_cluster")
def test_labels_of_another_command_are_not_replaced_unasked(folder, capsys):
    path = written(folder / "in.extxyz", metals(2))
    output = folder / "out.extxyz"
    shutil.copy(path, output)
    assert "holds labels of other structures" in refusal(capsys, path, output)
    assert "is also read" in refusal(capsys, path, path)
    assert "expected a name that ends in .extxyz" in refusal(capsys, path, folder / "out.traj")
    assert "needs" in refusal(capsys, path, output, teacher="not_there:needs")
    assert output.read_bytes() == path.read_bytes()
    label(path, output, "--overwrite")
    first = output.stat().st_mtime_ns
    expected = load_teacher(TEACHER).label(read_structures(path))
    assert_same(list(read_structures(output)), expected)
    capsys.readouterr()
    label(path, output)
    assert "is finished" in capsys.readouterr().out
    assert output.stat().st_mtime_ns == first


@pytest.mark.usefixtures("ray_cluster")
def test_where_nothing_can_be_labelled_nothing_is_left(folder, capsys):
    path = written(folder / "in.extxyz", [bulk("Si"), bulk("Ge")])
    assert "could label none of 2 structures: 1: NotImpl" in refusal(capsys, path, "out.h5")
    assert [p.name for p in folder.iterdir()] == ["in.extxyz"]
