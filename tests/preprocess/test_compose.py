"""What `+` means, arms of a user's own, and the refusals."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import registry
from jaxinv.errors import InputError
from jaxinv.preprocess import (
    Preprocess,
    check_preprocess,
    describe_preprocesses,
    fit_preprocesses,
    get_preprocess,
    transform,
)

pytestmark = pytest.mark.optimized

RNG = np.random.default_rng(21)
TRAIN = RNG.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
TRAIN[:, 0, 0] = 0  # a corner that is never on
TEST = RNG.integers(0, 256, (14, 6, 5, 3), dtype=np.uint8)
ALL_VALUES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def fitted(arm: str | Preprocess, images: np.ndarray = TEST, train: np.ndarray = TRAIN) -> np.ndarray:
    """What the arm makes of images: always 64 of them, so that an image shape is compiled once for each arm."""
    arm = get_preprocess(arm)
    return transform(arm, arm.fit(train), np.resize(images, (64, *images.shape[1:])))[: len(images)]


def maps(arm: str, train: np.ndarray = TRAIN) -> tuple[np.ndarray, np.ndarray]:
    found = get_preprocess(arm)
    assert found.affine is not None
    return found.affine(found.fit(train), train.shape[1:])  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "statistic", ["global_mean", "channel_mean", "pixel_mean", "global_zscore", "channel_zscore", "pixel_zscore"]
)
@pytest.mark.parametrize("seed", range(5))
def test_centred_inverted_is_the_mirror_image_of_centred_normal_to_the_bit(statistic, seed):
    train = np.random.default_rng(seed).integers(0, 256, (63, 11, 13, 3), dtype=np.uint8)
    train[:, 3:5] = 0
    scale, offset = maps(statistic, train)
    mirrored = maps(f"inverted+{statistic}", train)
    np.testing.assert_array_equal(mirrored[0], -scale)
    np.testing.assert_array_equal(mirrored[1], -offset)
    np.testing.assert_array_equal(fitted(f"inverted+{statistic}", train, train), -fitted(statistic, train, train))


def test_inversion_twice_is_normal_on_all_256_values():
    np.testing.assert_array_equal(
        fitted("inverted+inverted", ALL_VALUES, ALL_VALUES), fitted("normal", ALL_VALUES, ALL_VALUES)
    )
    np.testing.assert_array_equal(fitted("inverted+raw+inverted+raw", ALL_VALUES, ALL_VALUES), ALL_VALUES)


@pytest.mark.parametrize(
    ("composition", "same_as"),
    [
        ("normal+normal", "normal"),
        ("raw+normal", "normal"),
        ("raw+inverted", "inverted"),
        ("normal+inverted", "inverted"),
        ("signed+inverted", "inverted"),
        ("signed+normal", "normal"),
        ("normal+signed", "signed"),
        ("inverted+inverted+signed", "signed"),
        ("normal+raw", "raw"),
        ("normal+pixel_mean", "pixel_mean"),
        ("normal+global_zscore", "global_zscore"),
        ("normal+image_mean", "image_mean"),
        ("raw+image_standardize", "image_standardize"),
        ("normal+histogram", "histogram"),
        ("raw+histogram", "histogram"),
        ("signed+histogram", "histogram"),
        ("pixel_mean+pixel_mean", "pixel_mean"),
        ("raw+pixel_zscore", "pixel_zscore"),
        ("signed+channel_zscore", "channel_zscore"),
        ("inverted+inverted+zca", "zca"),
        ("normal+zca", "zca"),
        ("signed+zca", "zca"),
        ("normal+lcn", "lcn"),
        ("raw+lcn", "lcn"),
        ("global_mean+lcn", "lcn"),
        (" inverted + inverted ", "normal"),
    ],
)
def test_compositions_that_are_another_arm(composition, same_as):
    np.testing.assert_allclose(fitted(composition), fitted(same_as), rtol=1e-5, atol=1e-5)


def test_inverted_lcn_is_minus_lcn():
    np.testing.assert_allclose(fitted("inverted+lcn"), -fitted("lcn"), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", ["raw", "inverted", "signed", "pixel_zscore", "image_mean", "lcn", "zca", "histogram"]
)
def test_an_arm_behind_another_takes_its_values_as_they_are(first):
    both = np.concatenate([TRAIN, TEST])
    values = fitted(first, both).astype(np.float64)
    train = values[: len(TRAIN)]
    mean, spread = train.mean(0), np.where(np.ptp(train, axis=0) > 1e-5, train.std(0), 0)
    own = values - values.mean((1, 2, 3), keepdims=True)
    floor = np.maximum(values.std((1, 2, 3), keepdims=True), 1 / np.sqrt(values[0].size))
    expected = {
        "channel_mean": values - train.mean((0, 1, 2)),
        "pixel_zscore": np.where(spread > 0, (values - mean) / np.where(spread > 0, spread, 1), 0),
        "global_zscore": (values - train.mean()) / train.std(),
        "image_standardize": own / floor,
    }
    for second, what in expected.items():
        np.testing.assert_allclose(fitted(f"{first}+{second}", both), what, rtol=1e-5, atol=3e-5, err_msg=second)


def test_three_arms_of_both_kinds():
    equalised = fitted("histogram", TRAIN).astype(np.float64)
    expected = 1 - fitted("histogram").astype(np.float64) - (1 - equalised).mean(0)
    np.testing.assert_allclose(fitted("histogram+inverted+pixel_mean"), expected, atol=1e-6)


def test_affine_compositions_are_affine_and_no_others():
    for name in ("inverted+pixel_mean", "raw+global_zscore+pixel_mean", "signed+inverted"):
        scale, offset = maps(name)
        np.testing.assert_allclose(fitted(name), scale * TEST + offset, atol=1e-5)
    for name in ("lcn+pixel_mean", "pixel_mean+lcn", "image_mean", "zca+channel_mean"):
        assert get_preprocess(name).affine is None


def test_rounding_noise_counts_as_constant():
    """Every pixel of images that are all the same is constant, whatever float32 makes of their means."""
    same = np.repeat(TRAIN[:1], 9, axis=0)
    assert not fitted("image_mean+pixel_zscore", same, same).any()
    one_grey = np.full((5, 6, 6, 1), 77, np.uint8) + np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    assert not fitted("image_mean+pixel_zscore", one_grey, one_grey).any()


def test_plus_joins_arms_left_to_right():
    arm = get_preprocess("inverted") + get_preprocess("pixel_mean") + get_preprocess("lcn")
    assert arm.name == "inverted+pixel_mean+lcn"
    np.testing.assert_array_equal(fitted(arm), fitted("inverted+pixel_mean+lcn"))
    other = get_preprocess("inverted") + (get_preprocess("pixel_mean") + get_preprocess("lcn"))
    np.testing.assert_array_equal(fitted(other), fitted(arm))
    with pytest.raises(TypeError):
        _ = get_preprocess("inverted") + "pixel_mean"  # pyright: ignore[reportOperatorIssue]


def test_the_same_name_is_the_same_arm():
    assert get_preprocess("inverted+pixel_mean") is get_preprocess("inverted+pixel_mean")
    arm = get_preprocess("lcn")
    assert get_preprocess(arm) is arm


def test_fit_preprocesses_gives_what_each_fit_gives():
    own = Preprocess(lambda images: images.mean(0), lambda mean, x: x - mean[None], "own")
    arms = [
        get_preprocess(name) for name in ("normal", "pixel_mean", "pixel_zscore", "inverted+global_mean", "zca", "lcn")
    ] + [own]
    for arm, params in zip(arms, fit_preprocesses(arms, TRAIN), strict=True):
        np.testing.assert_array_equal(
            transform(arm, params, TEST), transform(arm, arm.fit(TRAIN), TEST), err_msg=arm.name
        )


def test_fit_preprocesses_counts_moments_once(monkeypatch):
    from jaxinv.preprocess import training_images

    counted = []
    count = training_images.uint8_moments
    monkeypatch.setattr(training_images, "uint8_moments", lambda images: counted.append(1) or count(images))
    fit_preprocesses([get_preprocess(name) for name in ("pixel_mean", "global_zscore", "inverted+channel_mean")], TRAIN)
    assert len(counted) == 1


# Arms of a user's own


def gamma(power: float = 0.5) -> Preprocess:
    return Preprocess(lambda images: (), lambda params, x: (x / 255.0) ** power, "gamma", limits=(0, 1))


def tilt() -> Preprocess:
    """An affine arm: divides by the largest training value of each pixel."""

    def fit(images):
        return {"most": jnp.maximum(jnp.asarray(images).max(0), 1).astype(jnp.float32)}

    def affine(params, image_shape):
        return 2 / params["most"], jnp.full(image_shape, -3.0)

    return Preprocess(fit, lambda params, x: 2.0 * x / params["most"][None] - 3, "tilt", affine)


def test_own_arm_reads_stored_values_first_and_floats_behind_another():
    seen = []
    spy = Preprocess(lambda images: seen.append(np.asarray(images)), lambda params, x: x / 1.0, "spy")
    spy.fit(TRAIN)
    (spy + get_preprocess("lcn")).fit(TRAIN)
    (get_preprocess("inverted") + spy).fit(TRAIN)
    (get_preprocess("histogram") + spy).fit(TRAIN)
    (get_preprocess("raw") + spy).fit(TRAIN)
    assert [images.dtype.name for images in seen] == ["uint8", "uint8", "float32", "float32", "float32"]
    np.testing.assert_allclose(seen[2], 1 - TRAIN / 255, atol=1e-6)
    np.testing.assert_array_equal(seen[3], fitted("histogram", TRAIN))


def test_own_arm_in_compositions():
    bright = (TRAIN / 255) ** 0.5
    expected = (TEST / 255) ** 0.5 - bright.mean(0)
    np.testing.assert_allclose(fitted(gamma() + get_preprocess("pixel_mean")), expected, atol=1e-5)
    np.testing.assert_allclose(fitted(gamma() + get_preprocess("inverted")), 1 - (TEST / 255) ** 0.5, atol=1e-5)
    np.testing.assert_allclose(fitted(get_preprocess("raw") + gamma() + gamma(1)), (TEST / 255) ** 0.5 / 255, atol=1e-5)


@pytest.mark.slow
def test_own_affine_arm_in_compositions():
    most = np.maximum(TRAIN.max(0), 1.0)
    first = tilt() + get_preprocess("pixel_mean")
    assert first.affine is not None
    np.testing.assert_allclose(fitted(first), 2 * (TEST - TRAIN.mean(0)) / most, rtol=1e-5, atol=1e-5)
    scale, offset = first.affine(first.fit(TRAIN), (6, 5, 3))
    np.testing.assert_allclose(scale * TEST + offset, fitted(first), rtol=1e-5, atol=1e-3)
    behind = get_preprocess("inverted") + tilt()
    most_behind = np.maximum((1 - TRAIN / 255).max(0), 1)
    np.testing.assert_allclose(fitted(behind), 2 * (1 - TEST / 255) / most_behind - 3, rtol=1e-5, atol=1e-5)
    for arm in (tilt(), first, behind, tilt() + get_preprocess("lcn")):
        check_preprocess(arm, arm.fit(TRAIN), (6, 5, 3))


def test_check_preprocess_accepts_every_built_in_arm():
    for name in (*registry.PREPROCESSINGS, "inverted+pixel_mean", "lcn+pixel_mean"):
        arm = get_preprocess(name)
        check_preprocess(arm, arm.fit(TRAIN), (6, 5, 3))


def own(apply, affine=None) -> Preprocess:
    return Preprocess(lambda images: (), apply, "own", affine)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda params, x: x.mean(3) / 1.0, r"makes \(4, 6, 5\) of"),
        (lambda params, x: x[:, 1:] / 1.0, r"makes \(4, 5, 5, 3\) of"),
        (lambda params, x: x - 128, "apply gives uint8"),
        (lambda params, x: (x / 1.0, x), "tuple"),
        (lambda params, x: x @ jnp.ones((7, 7)), "cannot be compiled \\(TypeError"),
        (lambda params, x: np.array(x), "cannot be compiled \\(TracerArrayConversionError"),
        (lambda params, x: x / 1.0 if x.max() > 0 else x, "cannot be compiled \\(TracerBoolConversionError"),
        (lambda params, x: x / 1.0 - x.mean(), "depends on the rest of the batch"),
        (lambda params, x: jnp.log(x / 1.0), "give finite"),
        (lambda params, x: 2 * x / 255, "wraps around"),
    ],
)
def test_check_preprocess_refuses(apply, message):
    with pytest.raises(InputError, match=message) as error:
        check_preprocess(own(apply), (), (6, 5, 3))
    assert "'own'" in str(error.value)
    assert "\n" not in str(error.value)


def test_transform_leaves_what_is_not_finite_for_the_trials_to_flag():
    images = np.ones((9, 2, 2, 1), np.uint8)
    images[6, 1, 1] = 0
    arm = own(lambda params, x: 1 / x.astype(jnp.float32))
    assert np.argwhere(~np.isfinite(transform(arm, arm.fit(images), images))).tolist() == [[6, 1, 1, 0]]


def test_limits_that_are_not_kept_do_no_harm():
    liar = Preprocess(lambda images: (), lambda params, x: x * 10.0 - 300.0, "liar", limits=(0, 1))
    out = fitted(liar + get_preprocess("histogram"))
    assert out.min() >= 0
    assert out.max() <= 1


def test_check_preprocess_accepts_arithmetic_that_is_meant_for_uint8():
    check_preprocess(own(lambda params, x: (x >> 4) / 15), (), (6, 5, 3))


def test_check_preprocess_refuses_an_affine_that_is_not_apply():
    arm = own(lambda params, x: x / 255.0, lambda params, shape: (jnp.ones(shape), jnp.zeros(shape)))
    with pytest.raises(InputError, match="is not the scale"):
        check_preprocess(arm, (), (6, 5, 3))


@pytest.mark.parametrize("pair", [(np.ones(3), np.zeros(3)), (np.ones((6, 5, 3)),), np.ones((6, 5, 3)), 3])
def test_affine_of_a_wrong_shape_is_refused(pair):
    arm = own(lambda params, x: x / 1.0, lambda params, shape: pair)
    with pytest.raises(InputError, match="affine that gives"):
        check_preprocess(arm, (), (6, 5, 3))
    with pytest.raises(InputError, match="affine that gives"):
        (arm + get_preprocess("pixel_mean")).fit(TRAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit": None}, "fit: None"),
        ({"apply": 3}, "apply: 3"),
        ({"affine": 3}, "affine: 3"),
        ({"name": ""}, "name: ''"),
        ({"name": "a\nb"}, "name: "),
        ({"name": None}, "name: None"),
        ({"name": "a+b"}, "name: 'a\\+b'"),
        ({"limits": (1, 0)}, "limits: "),
    ],
)
def test_preprocess_checks_its_fields(arguments, message):
    with pytest.raises(InputError, match=message):
        Preprocess(**({"fit": len, "apply": lambda params, x: x} | arguments))


# Names and inputs that make no sense


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nomal", "arms: 'nomal' is not known; did you mean 'normal'?"),
        ("inverted+pixelmean", "arms: 'pixelmean' is not known; did you mean 'pixel_mean'?"),
        ("", "arms: '' has an empty part"),
        ("normal+", "arms: 'normal\\+' has an empty part"),
        ("+normal", "has an empty part"),
        ("normal++lcn", "has an empty part"),
        (3, "arms: 3 is not allowed"),
        (["normal"], "is not allowed; give a name"),
        ("pixel_mean+inverted", "'inverted' has to know .* 'pixel_mean' leaves that open"),
        ("lcn+histogram", "'histogram' has to know .* 'lcn' leaves that open"),
        ("normal+zca+raw", "'raw' has to know .* 'zca' leaves that open"),
    ],
)
def test_names_that_make_no_sense_are_refused(name, message):
    with pytest.raises(InputError, match=message) as error:
        get_preprocess(name)
    assert "\n" not in str(error.value)


def test_own_arm_without_limits_leaves_them_open():
    with pytest.raises(InputError, match="'own' leaves that open"):
        _ = own(lambda params, x: x / 1.0) + get_preprocess("signed")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (TRAIN[0], r"shape \(6, 5, 3\)"),
        (TRAIN.astype(np.float32), "dtype float32"),
        (TRAIN.astype(np.int32), "dtype int32"),
        (TRAIN[:, :0], r"shape \(50, 0, 5, 3\)"),
        ([[1]], "list is not allowed"),
    ],
)
def test_images_that_are_not_stored_images_are_refused(images, message):
    arm = get_preprocess("pixel_mean")
    params = arm.fit(TRAIN)
    with pytest.raises(InputError, match=message):
        arm.fit(images)
    with pytest.raises(InputError, match=message):
        fit_preprocesses([arm], images)
    with pytest.raises(InputError, match=message):
        transform(arm, params, images)


def test_fit_needs_an_image():
    with pytest.raises(InputError, match="at least 1"):
        get_preprocess("normal").fit(TRAIN[:0])


def test_affine_of_another_image_shape_is_refused():
    arm = get_preprocess("pixel_mean")
    assert arm.affine is not None
    with pytest.raises(InputError, match=r"image_shape: \(6, 5, 1\)"):
        arm.affine(arm.fit(TRAIN), (6, 5, 1))


def test_zca_refuses_images_whose_covariance_would_not_fit():
    with pytest.raises(InputError, match=r"zca.*150,528"):
        get_preprocess("zca").fit(np.zeros((2, 224, 224, 3), np.uint8))


def test_describe_preprocesses_lists_the_registry():
    rows = describe_preprocesses()
    assert {row.name: row.description for row in rows} == registry.PREPROCESSINGS
    assert all(row.formula and row.source for row in rows)
    assert [row.name for row in rows if row.affine] == [
        name for name in registry.PREPROCESSINGS if get_preprocess(name).affine
    ]
