"""Words and numbers of a text are those of Python, however they are read."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightpfp_ray.data.compiled import native
from lightpfp_ray.data.readers.extxyz import _entries_by_grammar, entries_of
from lightpfp_ray.data.readers.words import PythonWords, words_of

compiled = pytest.mark.skipif(native() is None, reason="the reading of words is not compiled")
BLANKS = st.text(" \t\n\r\v\f", min_size=1, max_size=3)
NUMBERS = st.one_of(
    st.floats().map(repr),
    st.floats(-1e6, 1e6).map("{:.8f}".format),
    st.floats().map("{:.3e}".format),
    st.sampled_from(["+1.5", ".5", "5.", "-inf", "nan", "1e999", "1e-400", "1_0", "007", "-0"]),
)


def read(kind, text, width, first, count):
    words = kind(text)
    names, codes = words.distinct(0, width)
    return len(words), names, codes.tolist(), words.reals(first, width, count).tobytes()


@compiled
@settings(max_examples=200, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["Si", "O", "In"]), NUMBERS, NUMBERS)), BLANKS, BLANKS)
def test_compiled_words_are_those_of_python_to_the_bit(rows, between, after):
    text = "".join(between.join(row) + after for row in rows).encode()
    assert read(words_of, text, 3, 1, 2) == read(PythonWords, text, 3, 1, 2)


@pytest.mark.parametrize("kind", [words_of, PythonWords])
@pytest.mark.parametrize("word", ["abc", "--1", "+-1", "0x10", "1d3", "+", "nan(1)", "1.5.2"])
def test_what_is_no_number_is_a_mistake_that_names_it(kind, word):
    with pytest.raises(ValueError, match="could not convert string to float"):
        kind(f"1.0 {word}".encode()).reals(0, 2, 2)


def test_numbers_outlive_their_text():
    reals, codes = words_of(b"a 1.5 b 2.5").reals(1, 2, 1), words_of(b"a b a").distinct(0, 1)[1]
    np.testing.assert_array_equal(reals, [[1.5], [2.5]])
    np.testing.assert_array_equal(codes, [0, 1, 0])


KEYS = st.text("abc_-1", min_size=1, max_size=4)
VALUES = st.one_of(
    st.text("ab1.:-=", min_size=1, max_size=4),
    st.text("ab1 .=", max_size=6).map('"{}"'.format),
    st.sampled_from(["{1 2}", "[1, 2]", '"[1 2]"', "'a b'", '"a\\"b"', "[[1 2] [3 4]]", "a[1"]),
)
ENTRIES = st.tuples(KEYS, st.sampled_from(["=", "=", "=", " = "]), VALUES).map("".join)


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.one_of(ENTRIES, ENTRIES, ENTRIES, KEYS)).map(" ".join))
@example('Lattice="1 0 0 0 1 0 0 0 1" Properties=species:S:1:pos:R:3 pbc="T T T"\n')
@example('a=""')
@example("a=1 a=2")
@example('a="1"b=2')
def test_the_short_way_to_the_entries_of_a_line_is_the_grammar(comment):
    assert entries_of(comment) == _entries_by_grammar(comment)
