"""What a run can be asked, as text and in Python, and the looks that answer it."""

from typing import Any

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import stats
from jaxinv.stats.looks import Looks, next_look


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "until: no rule is given; give half_width, difference_from or within"),
        ({"half_width": 0}, "half_width: 0 is not allowed; give a finite number above 0"),
        ({"within": float("nan")}, "within: nan is not allowed"),
        ({"difference_from": "x"}, "difference_from: 'x' is not allowed; give a number"),
        ({"half_width": 1, "anytime": "exact", "metric": "test_loss"}, "anytime: 'exact' is not allowed for test_loss"),
        ({"half_width": 1, "anytime": "bayes"}, "anytime: 'bayes' is not allowed"),
        ({"half_width": 1, "learning_rate": (1, 2, 3)}, "learning_rate: .* is not allowed; give one, or one for each"),
        ({"half_width": 1, "confidence": 95}, "confidence: 95 is not allowed"),
    ],
)
def test_questions_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ji.InputError, match=says):
        ji.Until("normal", "inverted", **options)


def test_one_arm_twice_is_refused() -> None:
    with pytest.raises(ji.InputError, match="'normal' is given twice; give two arms"):
        ji.Until("normal", "normal", half_width=1)


NAMES = ("normal", "inverted+pixel_mean", "a-b", "a", "b - c")


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("normal-inverted+pixel_mean ± 0.001", ji.Until("normal", "inverted+pixel_mean", half_width=0.001)),
        ("inverted+pixel_mean - normal +- 1e-3", ji.Until("inverted+pixel_mean", "normal", half_width=0.001)),
        ("normal-a+/-0.01", ji.Until("normal", "a", half_width=0.01)),
        ("a-b-normal != 0", ji.Until("a-b", "normal", difference_from=0)),
        ("a-b - c ≠ -0.5", ji.Until("a", "b - c", difference_from=-0.5)),
        ("normal − a within 0.005", ji.Until("normal", "a", within=0.005)),
        ("normal-a != 0 or within 0.5", ji.Until("normal", "a", difference_from=0, within=0.5)),
        ("normal-a ± 0.1 at 0.5", ji.Until("normal", "a", half_width=0.1, learning_rate=0.5)),
        ("normal-normal ± 1 at 0.5 and 0.05", ji.Until("normal", "normal", half_width=1, learning_rate=(0.5, 0.05))),
    ],
)
def test_text_says_what_to_find_out(text: str, until: ji.Until) -> None:
    assert ji.Until.parse(text, NAMES) == until
    assert ji.Until.parse(until.text, NAMES) == until


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'until: \'\' cannot be read; give "A-B ± 0.001", "A-B != 0" or "A-B within 0.005"'),
        ("normal-a", "until: 'normal-a' cannot be read"),
        ("normal ± 0.1", "until: 'normal' is no difference of two arms; give A-B, of normal"),
        ("normal-zca ± 0.1", "until: 'zca' is not known"),
        ("normal-a ± tiny", "until: 'tiny' in .* is no number"),
        ("normal-a ± 0.1 or ± 0.2", "until: .* says the same kind of rule twice"),
        ("normal-a ± -1", "half_width: -1.0 is not allowed"),
        ("normal-a != inf", "until: 'inf' in .* is no number"),
    ],
)
def test_text_that_cannot_be_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(ji.InputError, match=says):
        ji.Until.parse(text, NAMES)


def test_looks_are_at_fixed_numbers_of_trials() -> None:
    n, found = 0, []
    while n < 9000:
        n = next_look(n)
        found.append(n)
    assert found == [*range(10, 1000, 10), *range(1000, 9001, 100)]


@pytest.mark.parametrize("anytime", ["asymptotic", "exact"])
def test_no_rounding_depends_on_the_blocks(anytime: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.round(rng.normal(0.5, 0.01, 3000), 4).astype(np.float32) for _ in range(2))
    until = ji.Until("a", "b", half_width=1e-9, difference_from=9, anytime=anytime)  # never
    ends = []
    for sizes in ([3000], [1] * 3000, [7] * 500, [999, 2001]):
        looks, start = Looks(until, 3000, 1e-4), 0
        until_now = None
        for size in sizes:
            until_now = looks.take(a[start : start + size], b[start : start + size]) or until_now
            start += size
        ends.append(looks.stop)
    assert len({repr(stop) for stop in ends}) == 1
    assert ends[0].n < 3000 or ends[0].reason in ("max_trials", "difference_from")


def test_pairs_without_a_value_are_left_out() -> None:
    a = np.linspace(0.4, 0.6, 200)
    b = np.where(np.arange(200) % 5 == 0, np.nan, 0.1)
    stop = Looks(ji.Until("a", "b", half_width=1, metric="test_loss"), 200).take(a, b)
    assert stop is not None
    kept = np.isfinite(b[: stop.n])
    look = stats.anytime_interval((a - b)[: stop.n][kept], grain=0.6 * 2**-22)
    np.testing.assert_allclose(stop.interval, look.ci, rtol=1e-9)
    assert stop.n == 80  # the first look with 57 pairs or more
