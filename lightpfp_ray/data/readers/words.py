"""The words of a text, and numbers among them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..compiled import native


class Words(Protocol):
    """Words between blanks, in rows of `step`."""

    def __len__(self) -> int: ...

    def distinct(self, first: int, step: int) -> tuple[list[bytes], np.ndarray]:
        """Every `step`th word from `first` on: those that differ, in order, and which of them each
        is, int64.
        """

    def reals(self, first: int, step: int, count: int) -> np.ndarray:
        """`count` words of each row, from the one of number `first` on: (rows, count), float64.

        Raises ValueError for a word that is no number.
        """


def words_of(text: bytes) -> Words:
    """The words of a text; compiled, or the same in Python where that was not built."""
    return PythonWords(text) if native() is None else native().Words(text)


class PythonWords:
    """See `Words`."""

    def __init__(self, text: bytes) -> None:
        self.words = text.split()

    def __len__(self) -> int:
        return len(self.words)

    def distinct(self, first: int, step: int) -> tuple[list[bytes], np.ndarray]:
        words = self.words[first::step]
        codes = {word: code for code, word in enumerate(dict.fromkeys(words))}
        return list(codes), np.array([codes[word] for word in words], np.int64)

    def reals(self, first: int, step: int, count: int) -> np.ndarray:
        found = np.empty((len(self.words) // step, count))
        for column in range(count):
            found[:, column] = list(map(float, self.words[first + column :: step]))
        return found
