"""What a parameter may be, and the points of a space of parameters."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Point = dict[str, Any]
"""Dotted key -> value."""


@dataclass(frozen=True)
class Choices:
    """One of some values, of any kind: a number, a list, or keys of a section."""

    values: tuple[Any, ...]

    def draw(self, chance: random.Random) -> Any:
        return self.values[chance.randrange(len(self.values))]

    def samples(self) -> tuple[Any, ...]:
        """Values that stand for all."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two, evenly in the number or in its logarithm."""

    low: float
    high: float
    logarithmic: bool

    def draw(self, chance: random.Random) -> float:
        if not self.logarithmic:
            return chance.uniform(self.low, self.high)
        return math.exp(chance.uniform(math.log(self.low), math.log(self.high)))

    def samples(self) -> tuple[float, float]:
        """Its ends."""
        return self.low, self.high


Space = Mapping[str, Choices | Range]


def grid(space: Space) -> Iterator[Point]:
    """All combinations, the last key fastest."""
    for values in itertools.product(*(domain.values for domain in space.values())):
        yield dict(zip(space, values, strict=True))


def n_combinations(space: Space) -> float:
    """How many points there are; inf with a range."""
    sizes = [len(d.values) if isinstance(d, Choices) else math.inf for d in space.values()]
    return math.prod(sizes)


def drawn(space: Space, n: int, seed: int) -> Iterator[Point]:
    """`n` different points at random, or all where there are fewer."""
    chance = random.Random(seed)
    if n_combinations(space) <= n:
        yield from grid(space)
        return
    seen: set[str] = set()
    while len(seen) < n:
        point = {key: domain.draw(chance) for key, domain in space.items()}
        if repr(point) not in seen:
            seen.add(repr(point))
            yield point


def one_at_a_time(space: Space) -> Iterator[Point]:
    """The first sample of everything, and every other sample with it alone changed."""
    first = {key: domain.samples()[0] for key, domain in space.items()}
    yield first
    for key, domain in space.items():
        for value in domain.samples()[1:]:
            yield first | {key: value}
