"""Tasks that move their parts into the sets while others still read."""

import pytest

from lightpfp_ray.data.inputs import Options, inputs_of
from lightpfp_ray.data.parts import PLACED
from lightpfp_ray.data.place import Places
from lightpfp_ray.data.prepare import PARTS, gather, part, prepare_block
from lightpfp_ray.data.read import blocks_of
from lightpfp_ray.data.schema import SPLITS

from .data_samples import metals, oddities, prepared, written

BLOCKS = 6


class Bench:
    """A cache of six blocks that tasks fill, in any order."""

    def __init__(self, root, fraction):
        self.path = written(root / "a.extxyz", metals(10) + oddities()[:2])
        self.folder = root / "moved"
        (self.folder / PARTS).mkdir(parents=True)
        self.options = Options(4.5, 1e38, 1e38, 0, fraction)
        self.blocks = list(blocks_of(self.path, self.path.name, 2))
        assert len(self.blocks) == BLOCKS
        self.whole = prepared(root / "whole", self.path, test_fraction=fraction, size=2)

    def task(self):
        names = [(self.folder, f"{n:06d}") for n in range(BLOCKS)]
        return Places(names, bool(self.options.test_fraction))

    def fill(self, task, number):
        prepare_block(self.blocks[number], None, self.folder, f"{number:06d}", options=self.options)
        task.add(number)

    def moved(self):
        """Blocks that lie in the sets."""
        found = [
            {(part(self.folder, split, f"{n:06d}") / PLACED).exists() for split in SPLITS}
            for n in range(BLOCKS)
        ]
        assert all(len(each) == 1 for each in found)
        return [n for n in range(BLOCKS) if found[n] == {True}]

    def gathered(self):
        """The manifest, after a look at all bytes."""
        manifest = gather(self.folder, inputs_of([self.path], []), self.options, [])
        for split in SPLITS:
            for each in (self.whole.path / split).iterdir():
                assert (self.folder / split / each.name).read_bytes() == each.read_bytes()
        return manifest


def test_a_part_is_moved_once_all_before_it_are_whole_and_the_set_is_the_same(tmp_path):
    bench = Bench(tmp_path, 0.4)
    one, other = bench.task(), bench.task()
    bench.fill(one, 0)
    bench.fill(one, 2)
    assert bench.moved() == []  # the first block has no structure of the test set
    bench.fill(other, 1)
    assert bench.moved() == [1]
    bench.fill(other, 3)
    assert bench.moved() == [1, 3]
    bench.fill(one, 5)
    assert bench.moved() == [0, 1, 2, 3]
    bench.fill(other, 4)
    assert bench.moved() == [0, 1, 2, 3, 4]
    left = {each.name for each in part(bench.folder, "train", "000004").iterdir()}
    assert left == {"structures.arrow", PLACED}
    bench.gathered()


def test_a_task_that_died_moves_its_parts_anew(tmp_path):
    bench = Bench(tmp_path, 0.4)
    died, other = bench.task(), bench.task()
    bench.fill(died, 0)
    bench.fill(other, 1)
    bench.fill(died, 2)
    bench.fill(other, 3)
    again = bench.task()
    for number in (0, 2, 4):
        bench.fill(again, number)
    bench.fill(other, 5)
    assert bench.moved() == list(range(BLOCKS))
    bench.gathered()


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_nothing_is_moved_while_a_split_has_no_structure(tmp_path, fraction):
    bench = Bench(tmp_path, fraction)
    task = bench.task()
    for number in range(BLOCKS):
        bench.fill(task, number)
    assert bench.moved() == []
    assert bench.gathered().moved == 1
