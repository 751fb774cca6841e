"""Cells of made-up results against indexing by hand, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from jaxinv import results, stats
from jaxinv.errors import DataError, InputError
from tests.builders import results_of

DIMS = results.AXES


def made(trials: int = 6) -> xr.Dataset:
    """Two arms, two learning rates, two steps, a metric of a user's own."""
    rng = np.random.default_rng(0)
    shape = (2, 2, trials, 2)
    data = results_of(
        rng.random(shape),
        arms=("a", "b"),
        learning_rates=(0.1, 0.5),
        steps=(10, 20),
        first_trial=10,
        test_loss=rng.exponential(size=shape),
        margin=rng.normal(size=shape[::-1]).T,
        diverged=rng.random(shape[:3]) < 0.3,
        layer_delta=np.zeros((*shape[:3], 2)),
    )
    return data.assign(margin=data.margin.transpose(*DIMS[::-1]))


def test_a_cell_is_one_arm_at_one_learning_rate_at_one_step():
    data = made()
    got = results.cell(data, "b", learning_rate=0.1, step=10)
    assert (got.arm, got.learning_rate, got.step) == ("b", 0.1, 10)
    np.testing.assert_array_equal(got.trials, np.arange(10, 16))
    place = {"arm": "b", "learning_rate": 0.1}
    np.testing.assert_array_equal(got.accuracy, data["accuracy"].sel(**place, step=10))
    np.testing.assert_array_equal(got.test_loss, data["test_loss"].sel(**place, step=10))
    np.testing.assert_array_equal(got.metric("margin"), data["margin"].sel(**place, step=10))
    np.testing.assert_array_equal(got.diverged, data["diverged"].sel(**place))
    assert got.accuracy.dtype == np.float64
    assert list(got.metrics) == results.metric_names(data) == ["accuracy", "test_loss", "margin"]


def test_all_cells_are_each_cell():
    data = made()
    found = results.cells(data)
    assert [(one.arm, one.learning_rate) for one in found] == [("a", 0.1), ("a", 0.5), ("b", 0.1), ("b", 0.5)]
    for one in found:
        alone = results.cell(data, one.arm, learning_rate=one.learning_rate)
        assert one.step == alone.step == 20
        np.testing.assert_array_equal(one.diverged, alone.diverged)
        for name in one.metrics:
            np.testing.assert_array_equal(one.metric(name), alone.metric(name))


def test_cells_hold_the_trials_that_are_done():
    done = np.array([True, False, True, True, False, False])
    data = made().assign(done=("trial", done))
    for one in (*results.cells(data), results.cell(data, "a", learning_rate=0.5)):
        np.testing.assert_array_equal(one.trials, [10, 12, 13])
        place = {"arm": one.arm, "learning_rate": one.learning_rate}
        np.testing.assert_array_equal(one.accuracy, data["accuracy"].sel(**place, step=20)[done])
        np.testing.assert_array_equal(one.diverged, data["diverged"].sel(**place)[done])
    with pytest.raises(DataError, match="none of 6 trials is done"):
        results.cells(data.assign(done=("trial", ~done & done)))


def test_the_best_learning_rate_has_the_best_finite_mean():
    data = made()
    data["accuracy"].values[0, :, :, 1] = np.array([[0.3], [0.9]])
    data["accuracy"].values[0, 1, 2, 1] = np.nan  # left out of the mean
    data["accuracy"].values[1, 0, :, 1] = np.nan  # no value at all: the worst
    data["test_loss"].values[0, :, :, 1] = np.array([[2.0], [3.0]])
    assert results.best_rates(data) == {"a": 0.5, "b": 0.5}
    assert results.best_cells(data)["a"].learning_rate == 0.5
    assert results.best_cells(data, metric="test_loss", lowest=True)["a"].learning_rate == 0.1
    data["accuracy"].values[1] = np.nan
    assert results.best_rates(data)["b"] == 0.1  # of equals the first


def test_the_mean_over_steps_is_each_trials_own():
    data = made()
    data["accuracy"].values[0, 0, 0] = [0.25, np.nan]
    got = results.mean_over_steps(data)
    np.testing.assert_allclose(got["accuracy"].values[..., 0], np.nanmean(data["accuracy"].astype(float), axis=-1))
    assert results.steps(got) == [20]
    assert results.cell(got, "a", learning_rate=0.1).accuracy[0] == 0.25


def test_a_summary_of_a_cell_is_that_of_each_metric():
    data = made()
    one = results.cell(data, "a", learning_rate=0.5)
    got = stats.cell_summary(one)
    assert (got.arm, got.learning_rate, got.step, got.trials) == ("a", 0.5, 20, 6)
    assert got.diverged == one.diverged.sum()
    assert got.accuracy == stats.summary(one.accuracy)
    assert got.test_loss == stats.summary(one.test_loss)
    assert got.metric("margin") == stats.summary(one.metric("margin"))


def test_each_arm_is_compared_at_its_own_learning_rate():
    data = made()
    (pair,) = stats.compare_all(data, learning_rate={"a": 0.5, "b": 0.1})
    alone = stats.compare(data, "a", "b", learning_rate=(0.5, 0.1))
    assert (pair.learning_rate, pair.difference, pair.p_value) == ((0.5, 0.1), alone.difference, alone.p_value)


def test_the_weight_change_of_an_arm():
    data = made()
    heat = np.arange(2 * 2 * 3 * 4).reshape(2, 2, 3, 4, 1)
    data["weight_delta"] = (("arm", "learning_rate", "row", "col", "channel"), heat)
    np.testing.assert_array_equal(results.weight_deltas(data, {"a": 0.5, "b": 0.1})["b"], heat[1, 0])


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda d: results.cell(d, "c", learning_rate=0.1), "arm: 'c' is not known; give one of a, b"),
        (
            lambda d: results.cell(d, "a"),
            "learning_rate: none given, and the results have several; give one of 0.1, 0.5",
        ),
        (lambda d: results.cell(d, "a", learning_rate=0.2), "learning_rate: 0.2 is not in the results; give one of"),
        (lambda d: results.cell(d, "a", learning_rate=0.1, step=11), "step: 11 was not evaluated; give one of 10, 20"),
        (lambda d: results.cell(d, "a", learning_rate=0.1).metric("loss"), "metric: 'loss' is not known"),
        (
            lambda d: results.check_results("runs/x"),
            "results: 'runs/x' is not allowed; give what ji.run or ji.load returns",
        ),
        (lambda d: results.cells(d.isel(step=0)), "results: no dimension 'step'; give results with dims arm"),
        (lambda d: results.weight_deltas(d), "results: no 'weight_delta'; give results of a model"),
        (lambda d: results.rate_by_arm(d, {"c": 0.1}), "learning_rate: 'c' is not known"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, start):
    with pytest.raises(InputError) as caught:
        call(made())
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


def test_a_cell_has_the_learning_rate_that_was_used_beside_its_place_on_the_axis():
    data = made()
    assert [(one.learning_rate, one.rate) for one in results.cells(data)] == [(0.1, 0.1), (0.5, 0.5)] * 2
    used = np.array([[0.1, 0.5], [0.001, 0.01]])
    for own in (
        data.assign_coords(rate=(("arm", "learning_rate"), used)),
        data.assign_coords(rate=(("learning_rate", "arm"), used.T)),
    ):
        np.testing.assert_array_equal(results.rates_used(own), used)
        assert [(one.arm, one.learning_rate, one.rate) for one in results.cells(own)] == [
            ("a", 0.1, 0.1),
            ("a", 0.5, 0.5),
            ("b", 0.1, 0.001),
            ("b", 0.5, 0.01),
        ]
        assert results.cell(own, "b", learning_rate=0.5).rate == 0.01
        assert results.cell(own.sel(arm=["b"]), "b", learning_rate=0.1).rate == 0.001
        assert results.best_cells(results.mean_over_steps(own))["b"].rate in used[1]


def test_an_arm_with_one_rate_of_its_own_has_one_distinct_cell():
    used = [[0.1, 0.5], [0.001, 0.001]]
    data = made().assign_coords(rate=(("arm", "learning_rate"), used))
    data["accuracy"].values[1, 1, :, 1] = 2.0  # would be the best
    assert [(one.arm, one.rate) for one in results.distinct_cells(data)] == [("a", 0.1), ("a", 0.5), ("b", 0.001)]
    assert results.best_cells(data)["b"].learning_rate == 0.1
    assert len(results.distinct_cells(made())) == 4
