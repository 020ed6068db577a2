"""Files and folders that are whole or absent."""

import os
import signal
import subprocess
import sys

import pytest

from lightpfp_ray.files import folder_beside

HOLDS_ONE = """
import sys, time
from pathlib import Path
from lightpfp_ray.files import folder_beside
with folder_beside(Path(sys.argv[1])) as folder:
    (folder / "part").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_folder_is_renamed_whole_or_removed(tmp_path):
    final = tmp_path / "cache" / "name"
    with folder_beside(final) as folder:
        (folder / "part").write_text("whole")
        folder.rename(final)
    assert (final / "part").read_text() == "whole"
    with folder_beside(final) as folder:
        (folder / "part").write_text("not needed")
    assert os.listdir(final.parent) == ["name"]


def test_an_error_on_the_way_is_told_and_leaves_nothing(tmp_path):
    def fill():
        with folder_beside(tmp_path / "name") as folder:
            (folder / "part").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill()
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not(tmp_path):
    final = tmp_path / "name"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_ONE, str(final)], stdout=subprocess.PIPE, text=True
    )
    theirs = process.stdout.readline().strip()
    with folder_beside(final) as ours:
        assert sorted(os.listdir(tmp_path)) == sorted([ours.name, os.path.basename(theirs)])
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert os.listdir(tmp_path) == [os.path.basename(theirs)]
    with folder_beside(final) as ours:
        assert os.listdir(tmp_path) == [ours.name]
