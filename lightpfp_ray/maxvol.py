"""Maxvol: among all rows seen, n rows of n numbers whose determinant is the largest that exchanges
of single rows can reach.

    C = X A^-1,     |C_ij| <= 1 + TOLERANCE for every row of X

C_ij is the factor by which |det A| changes when row j of A is replaced by row i of X; so the
largest is exchanged until none is above. Goreinov et al. 2010 (doi 10.1142/9789812836021_0015);
Podryabinkin and Shapeev 2017 (doi 10.1016/j.commatsci.2017.08.031). Rows come in blocks, and may
come again.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 0.01
"""A determinant is worth an exchange when it grows by more than this part."""

START = 1e-6
"""Size of the rows one begins with, in units of the root mean square of a column: a direction that
varies less is taken as not seen.
"""


ROUNDS = 10
"""Exact inverses in one block: rounding could otherwise exchange for ever."""


class MaxVol:
    """A matrix `rows` (n, n) that exchanges its rows for better ones among those it is shown."""

    def __init__(self, n: int) -> None:
        self.rows = np.zeros((n, n))
        self.is_start = np.ones(n, bool)
        self._inverse = np.zeros((n, n))
        self._scale_n = np.zeros(n)  # root mean square of the columns, the largest of a block

    def show(self, X: np.ndarray) -> int:
        """Exchange rows for some of X (m, n) until none is worth it; how many were."""
        if not len(X):
            return 0
        self._grow(np.sqrt((X**2).mean(0)))
        exchanged = 0
        for _ in range(ROUNDS):
            found = self._exchange(X, X @ self._inverse)
            if not found:
                break
            exchanged += found
            self._inverse = inverse(self.rows)
        return exchanged

    def _exchange(self, X: np.ndarray, C: np.ndarray) -> int:
        """Exchanges by the largest entry of C, which follows by a term of rank one."""
        for exchanged in range(len(X) + 10 * len(self.rows)):
            i, j = np.unravel_index(np.abs(C).argmax(), C.shape)
            if abs(C[i, j]) <= 1 + TOLERANCE:
                return exchanged
            step = C[i].copy()
            step[j] -= 1
            C -= np.outer(C[:, j] / C[i, j], step)
            self.rows[j], self.is_start[j] = X[i], False
        return exchanged + 1

    def _grow(self, size_n: np.ndarray) -> None:
        """The rows to begin with are diagonal, and as small as the columns seen so far demand."""
        grown = np.maximum(self._scale_n, size_n)
        j = np.flatnonzero(self.is_start & (grown > self._scale_n) | (self.rows == 0).all(1))
        self._scale_n = grown
        if len(j):
            seen = grown[grown > 0]
            self.rows[j, j] = START * np.where(grown > 0, grown, seen.min(initial=1.0))[j]
            self._inverse = inverse(self.rows)


def inverse(rows: np.ndarray) -> np.ndarray:
    """A^-1, its columns brought to one size first: moments differ by orders of magnitude."""
    size = np.sqrt((rows**2).mean(0))
    return np.linalg.inv(rows / size) / size[:, None]
