"""From levmax and costs to components, products and scalars: the basis as a straight-line program
of integers.

    lev M[mu, nu] = moment_init_cost + moment_mu_cost mu + moment_nu_cost nu
    B = every full contraction of at most four moments whose levels add up to at most levmax

A contraction of k moments is a symmetric k x k table n_pq: how many indices moment p shares with q.
Gubaev et al. 2019, eqs. 5-7; Novikov et al. 2021, eqs. 4-6. The tensors are symmetric, so a
component is a monomial (a, b, c), and a sum over n shared indices is a sum over monomials of degree
n weighted by multinomial(n; a, b, c).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import permutations, product
from math import factorial

MAX_FACTORS = 4
"""Moments in one contraction: four reproduce the published counts."""

Moment = tuple[int, int]  # (mu, nu)
Monomial = tuple[int, int, int]  # (a, b, c)
Table = tuple[tuple[int, ...], ...]  # n_pq


@dataclass(frozen=True)
class Levels:
    """What decides the size of a basis: the four numbers of the control file."""

    levmax: int
    init_cost: int = 2
    mu_cost: int = 4
    nu_cost: int = 1

    def __post_init__(self) -> None:
        if min(self.init_cost, self.mu_cost, self.nu_cost) < 1:
            raise ValueError(f"costs must be at least 1, found {self}")
        if self.levmax < self.init_cost:
            raise ValueError(
                f"levmax {self.levmax} is below moment_init_cost {self.init_cost}: no basis "
                "function"
            )

    def of(self, moment: Moment) -> int:
        mu, nu = moment
        return self.init_cost + self.mu_cost * mu + self.nu_cost * nu


@dataclass(frozen=True)
class Basis:
    """A program: components of moments, then products in order, then which moments are the scalars
    B.

    A product (left, right, multiplicity, target) means moment[target] += multiplicity *
    moment[left] * moment[right]; left and right are complete before target begins.
    """

    components: tuple[tuple[int, int, int, int], ...]  # (mu, a, b, c)
    products: tuple[tuple[int, int, int, int], ...]
    scalars: tuple[int, ...]

    @cached_property
    def _hash(self) -> int:
        return hash((self.components, self.products, self.scalars))

    def __hash__(self) -> int:
        """Made once: a basis is a key of caches, and has up to 10^5 numbers."""
        return self._hash

    @property
    def n_moments(self) -> int:
        return 1 + max([len(self.components) - 1, *(target for *_, target in self.products)])

    @property
    def n_radial(self) -> int:
        return 1 + max(mu for mu, *_ in self.components)


def side_by_side(basis: Basis, n: int) -> Basis:
    """The basis functions of n potentials with radial functions of their own: those of `basis` n
    times, each time over the next n_radial radial functions.
    """
    first = len(basis.components)  # of the intermediates
    rest = basis.n_moments - first

    def place(moment: int, copy: int) -> int:
        return moment + (copy * first if moment < first else (n - 1) * first + copy * rest)

    copies = range(n)
    return Basis(
        tuple((mu + k * basis.n_radial, *abc) for k in copies for mu, *abc in basis.components),
        tuple(
            (place(left, k), place(right, k), times, place(target, k))
            for k in copies
            for left, right, times, target in basis.products
        ),
        tuple(place(scalar, k) for k in copies for scalar in basis.scalars),
    )


@cache
def monomials(degree: int) -> tuple[Monomial, ...]:
    """All (a, b, c) with a + b + c = degree."""
    return tuple(
        (a, b, degree - a - b) for a in range(degree, -1, -1) for b in range(degree - a, -1, -1)
    )


@cache
def multinomial(m: Monomial) -> int:
    return factorial(sum(m)) // (factorial(m[0]) * factorial(m[1]) * factorial(m[2]))


def add(m: Monomial, n: Monomial) -> Monomial:
    return (m[0] + n[0], m[1] + n[1], m[2] + n[2])


def contractions(levels: Levels) -> list[tuple[tuple[Moment, ...], Table]]:
    """Every contraction up to levmax once, by rising level."""
    found = []
    for chosen in _sets_of_moments(levels):
        level = sum(map(levels.of, chosen))
        tables = {_canonical(chosen, t) for t in _tables([nu for _, nu in chosen])}
        found += [(level, len(chosen), chosen, table) for table in sorted(tables)]
    return [(chosen, table) for _, _, chosen, table in sorted(found)]


def _sets_of_moments(levels: Levels) -> Iterator[tuple[Moment, ...]]:
    """One to four moments in ascending order whose levels add up to at most levmax."""
    moments = _moments(levels)

    def extend(chosen: tuple[Moment, ...], first: int, room: int) -> Iterator[tuple[Moment, ...]]:
        for i in range(first, len(moments)):
            left = room - levels.of(moments[i])
            if left >= 0:
                longer = (*chosen, moments[i])
                yield longer
                if len(longer) < MAX_FACTORS:
                    yield from extend(longer, i, left)

    return extend((), 0, levels.levmax)


def _moments(levels: Levels) -> list[Moment]:
    """Moments whose own level is within levmax."""
    room = levels.levmax - levels.init_cost
    return [
        (mu, nu)
        for mu in range(room // levels.mu_cost + 1)
        for nu in range((room - levels.mu_cost * mu) // levels.nu_cost + 1)
    ]


def _tables(nus: list[int]) -> Iterator[Table]:
    """Symmetric tables of non-negative integers with zero diagonal and row sums nus."""
    k = len(nus)
    pairs = [(p, q) for p in range(k) for q in range(p + 1, k)]

    def fill(i: int, left: tuple[int, ...], entries: tuple[int, ...]) -> Iterator[Table]:
        if i == len(pairs):
            if not any(left):
                n = dict(zip(pairs, entries, strict=True))
                yield tuple(
                    tuple(n.get((min(p, q), max(p, q)), 0) for q in range(k)) for p in range(k)
                )
            return
        p, q = pairs[i]
        last_of_row = q == k - 1
        for n in range(left[p] if last_of_row else 0, min(left[p], left[q]) + 1):
            rest = list(left)
            rest[p] -= n
            rest[q] -= n
            yield from fill(i + 1, tuple(rest), (*entries, n))

    return fill(0, tuple(nus), ())


def _canonical(chosen: tuple[Moment, ...], table: Table) -> Table:
    """The same table for every order of equal moments."""
    k = range(len(chosen))
    orders = (o for o in permutations(k) if all(chosen[o[p]] == chosen[p] for p in k))
    return min(tuple(tuple(table[o[p]][o[q]] for q in k) for p in k) for o in orders)


@cache
def make_basis(levels: Levels) -> Basis:
    """The program of every contraction up to levmax; of the ways to split a contraction, the one
    with fewest new products.
    """
    program = _Program()
    scalars = [program.scalar(chosen, table) for chosen, table in contractions(levels)]
    return program.finish(scalars)


Terms = dict[tuple, int]  # (left key, right key) -> multiplicity


class _Program:
    """Collects intermediates once each; a key names an intermediate, its terms are sums of products
    of keys.
    """

    def __init__(self) -> None:
        self.terms: dict[tuple, Terms] = {}  # in the order in which they can be computed

    def scalar(self, chosen: tuple[Moment, ...], table: Table) -> tuple:
        if len(chosen) == 1:
            return _component(chosen[0], (0, 0, 0))
        if len(chosen) == 2:
            key, terms = _pair(*chosen, table[0][1], (0, 0, 0), (0, 0, 0))
            self._add({key: terms})
            return key
        splits = _splits_of_three if len(chosen) == 3 else _splits_of_four
        candidates = list(splits(chosen, table))
        final, needed = min(candidates, key=lambda c: len(c[0]) + self._new_products(c[1]))
        self._add({**needed, (chosen, table): final})
        return (chosen, table)

    def _new_products(self, needed: dict[tuple, Terms]) -> int:
        return sum(len(terms) for key, terms in needed.items() if key not in self.terms)

    def _add(self, needed: dict[tuple, Terms]) -> None:
        for each, terms in needed.items():
            self.terms.setdefault(each, terms)

    def finish(self, scalars: list[tuple]) -> Basis:
        """Number the components that are used, then the intermediates."""
        used = {key for terms in self.terms.values() for pair in terms for key in pair} | set(
            scalars
        )
        components = sorted(key[1:] for key in used if key[0] == "component")
        number = {("component", *c): i for i, c in enumerate(components)}
        products = []
        for key, terms in self.terms.items():
            number[key] = len(number)
            products += [
                (number[left], number[right], times, number[key])
                for (left, right), times in terms.items()
            ]
        return Basis(tuple(components), tuple(products), tuple(number[s] for s in scalars))


def _component(moment: Moment, m: Monomial) -> tuple:
    return ("component", moment[0], *m)


def _collect(terms: Terms, left: tuple, right: tuple, times: int) -> None:
    pair = (left, right) if left <= right else (right, left)
    terms[pair] = terms.get(pair, 0) + times


def _pair(
    first: Moment, second: Moment, shared: int, free1: Monomial, free2: Monomial
) -> tuple[tuple, Terms]:
    """P[free1, free2] = sum_alpha multinomial(alpha) M1[alpha + free1] M2[alpha + free2], |alpha| =
    shared: its key and its terms.
    """
    if (second, free2) < (first, free1):
        return _ordered_pair(second, first, shared, free2, free1)
    return _ordered_pair(first, second, shared, free1, free2)


@lru_cache(maxsize=1 << 16)
def _ordered_pair(
    first: Moment, second: Moment, shared: int, free1: Monomial, free2: Monomial
) -> tuple[tuple, Terms]:
    terms: Terms = {}
    for alpha in monomials(shared):
        left, right = _component(first, add(alpha, free1)), _component(second, add(alpha, free2))
        _collect(terms, left, right, multinomial(alpha))
    return ("pair", first, second, shared, free1, free2), terms


def _splits_of_three(
    chosen: tuple[Moment, ...], table: Table
) -> Iterator[tuple[Terms, dict[tuple, Terms]]]:
    """(pq) with s: B = sum P_pq[alpha_ps, alpha_qs] M_s[alpha_ps + alpha_qs]."""
    for s in range(3):
        p, q = (i for i in range(3) if i != s)
        final: Terms = {}
        needed: dict[tuple, Terms] = {}
        for ps, qs in product(monomials(table[p][s]), monomials(table[q][s])):
            key, pair = _pair(chosen[p], chosen[q], table[p][q], ps, qs)
            needed[key] = pair
            _collect(
                final, key, _component(chosen[s], add(ps, qs)), multinomial(ps) * multinomial(qs)
            )
        yield final, needed


def _splits_of_four(
    chosen: tuple[Moment, ...], table: Table
) -> Iterator[tuple[Terms, dict[tuple, Terms]]]:
    """(pq)(st): B = sum P_pq[ps + pt, qs + qt] P_st[ps + qs, pt + qt] over the monomials of the
    four crossing entries.
    """
    for p, q, s, t in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
        final: Terms = {}
        needed: dict[tuple, Terms] = {}
        crossing = [monomials(table[i][j]) for i, j in ((p, s), (p, t), (q, s), (q, t))]
        for ps, pt, qs, qt in product(*crossing):
            left, pair_left = _pair(chosen[p], chosen[q], table[p][q], add(ps, pt), add(qs, qt))
            right, pair_right = _pair(chosen[s], chosen[t], table[s][t], add(ps, qs), add(pt, qt))
            needed[left], needed[right] = pair_left, pair_right
            times = multinomial(ps) * multinomial(pt) * multinomial(qs) * multinomial(qt)
            _collect(final, left, right, times)
        yield final, needed
