"""Trials that a run takes which stops by itself: against runs that look as real ones do, and closed forms."""

import json

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import cli, stats
from jaxinv.stats.looks import Looks, next_look
from jaxinv.stats.sequential import trials_for
from tests.cli.test_compare import call, stored

PILOT = np.random.default_rng(3).exponential(size=40)  # skewed


def really(pilot: np.ndarray, until: ji.Until, effect: float, runs: int, most: int) -> np.ndarray:
    """Where runs of trials drawn from the pilot stop."""
    rng = np.random.default_rng(5)
    ends = []
    for _ in range(runs):
        d = rng.choice(pilot, most) - pilot.mean() + effect
        stop = Looks(until, most).take(d, np.zeros(most))
        assert stop is not None
        ends.append(stop.n)
    return np.array(ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "effect", "most"),
    [({"difference_from": 0}, 0.3, 3000), ({"within": 0.15}, 0.02, 4000), ({"half_width": 0.09}, 0.0, 4000)],
)
def test_simulated_runs_stop_where_real_ones_do(rule, effect, most):
    ends = really(PILOT, ji.Until("a", "b", **rule), effect, 150, most)
    known = {name: value for name, value in rule.items() if name != "difference_from"}
    found = stats.stopping_time(PILOT, effect=effect, most=most, seed=1, **known)
    error = ends.std(ddof=1) / np.sqrt(ends.size)
    assert found.expected == pytest.approx(ends.mean(), abs=4 * error + 1)
    assert found.quantile90 == pytest.approx(np.quantile(ends, 0.9), rel=0.15)
    assert found.median == pytest.approx(np.median(ends), rel=0.15)
    assert found.answered == pytest.approx(np.mean(ends < most), abs=0.1)


def test_sums_of_many_trials_are_as_those_of_single_ones(monkeypatch):
    """Whether drawn or from their normal limit."""
    slow = stats.stopping_time(PILOT, effect=0.015, simulations=300)
    monkeypatch.setattr("jaxinv.stats.stopping_times.LARGEST_DRAW", 10**9)
    exact = stats.stopping_time(PILOT, effect=0.015, simulations=300, seed=2)
    assert slow.expected > 20_000  # so that most sums are of more than a hundred
    assert slow.expected == pytest.approx(exact.expected, rel=0.1)
    assert slow.quantile90 == pytest.approx(exact.quantile90, rel=0.15)


def test_a_width_is_reached_where_the_interval_is_as_narrow():
    pilot = np.tile([-1.0, 1.0], 50)
    found = stats.stopping_time(pilot, half_width=0.02, simulations=200)
    n = trials_for(0.02 / 1.0)
    assert n <= found.median <= next_look(n) + 400
    assert found.expected == pytest.approx(n, rel=0.03)


def test_arms_that_are_equal_are_seen_to_be_so_at_once():
    found = stats.stopping_time(np.zeros(20), within=0.005, grain=1e-4)
    assert (found.expected, found.quantile90, found.answered) == (60, 60, 1)
    never = stats.stopping_time(np.zeros(20), grain=1e-4, most=500)
    assert (never.expected, never.answered) == (500, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"differences": [1.0, 2.0, 3.0]}, "pilot: 3 trials are too few to speak; 6 or more are needed"),
        ({"half_width": 1, "within": 1}, "within: half_width is given too; give one rule"),
        ({"half_width": -1}, "half_width: -1 is not allowed"),
        ({"effect": np.nan}, "effect: nan is not allowed"),
        ({"simulations": 0}, "simulations: 0 is not allowed"),
        ({"most": 0.5}, "most: 0.5 is not allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    with pytest.raises(ji.InputError, match=says):
        stats.stopping_time(**{"differences": PILOT, **options})


def test_the_command_plans_both(capsys, tmp_path):
    accuracy = stored(tmp_path / "run", trials=12)
    d = accuracy[0, 0] - accuracy[1, 0]
    status, out, _ = call(capsys, "power", tmp_path / "run", "normal", "inverted", "--effect", 0.01, "--json")
    found = json.loads(out)
    assert (status, found["pilot"]) == (cli.DONE, 12)
    assert found["trials"] == stats.trials_needed(d, effect=0.01).trials
    assert found["stopping"] == stats.stopping_time(d, effect=0.01).to_dict()
    out = call(capsys, "power", tmp_path / "run", "normal", "inverted", "--effect", 0.01)[1]
    assert f"stopping by itself  {found['stopping']['expected']:,.0f} trials on average" in out
    assert max(map(len, out.splitlines())) <= 80
    stored(tmp_path / "few", trials=5)
    status, out, err = call(capsys, "power", tmp_path / "few", "normal", "inverted", "--effect", 0.01)
    assert (status, out) == (cli.SENSELESS, "")
    assert err == "jaxinv: pilot: 5 trials are too few to speak; 6 or more are needed; run more trials\n"
