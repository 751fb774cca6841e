"""Every arm against float64 NumPy and SciPy, written without a look at the arm."""

from fractions import Fraction

import jax
import numpy as np
import pytest
import scipy.ndimage

from jaxinv import registry
from jaxinv.preprocess import Preprocess, get_preprocess, transform, whitening
from jaxinv.preprocess.training_images import float_moments, uint8_moments

pytestmark = pytest.mark.optimized

RNG = np.random.default_rng(20)


@pytest.fixture(autouse=True)
def _no_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other tests."""
    monkeypatch.setattr(whitening, "_matrices", {})


def grey(n: int, *shape: int, low: int = 0, high: int = 256) -> np.ndarray:
    return RNG.integers(low, high, (n, *shape), dtype=np.uint8)


def lit(n: int, *shape: int, value: int = 255) -> np.ndarray:
    """Images of which one has one pixel that is not 0."""
    images = np.zeros((n, *shape), np.uint8)
    images[n // 2, shape[0] // 2, shape[1] // 3, shape[2] - 1] = value
    return images


def colours(n: int) -> np.ndarray:
    return np.broadcast_to(np.array([250, 3, 77], np.uint8), (n, 5, 4, 3)).copy()


def bright(n: int) -> np.ndarray:
    """Bright images whose first pixel hardly ever changes."""
    images = grey(n, 6, 7, 1, low=200)
    images[:, 0, 0, 0] = 255
    images[0, 0, 0, 0] = 254
    return images


# training images, test images; few shapes, so that there is little to compile
CASES = {
    "random": (grey(40, 6, 7, 1), grey(6, 6, 7, 1)),
    "random RGB": (grey(40, 5, 4, 3), grey(6, 5, 4, 3)),
    "larger than the window": (grey(30, 11, 13, 1), grey(5, 11, 13, 1)),
    "all zero": (np.zeros((3, 6, 7, 1), np.uint8), grey(3, 6, 7, 1)),
    "all zero RGB": (np.zeros((3, 5, 4, 3), np.uint8), np.zeros((2, 5, 4, 3), np.uint8)),
    "constant": (np.full((4, 6, 7, 1), 77, np.uint8), np.full((2, 6, 7, 1), 200, np.uint8)),
    "constant colour": (colours(3), colours(2)),
    "one pixel": (lit(20, 6, 7, 1), lit(3, 6, 7, 1)),
    "one faint pixel RGB": (lit(20, 5, 4, 3, value=1), lit(3, 5, 4, 3, value=2)),
    "faint": (grey(25, 6, 7, 1, low=100, high=103), grey(4, 6, 7, 1, low=100, high=103)),
    "almost constant pixel": (bright(50), bright(10)),
    "1x1": (grey(9, 1, 1, 1), grey(4, 1, 1, 1)),
    "1x1 RGB": (grey(9, 1, 1, 3), grey(4, 1, 1, 3)),
    "one row": (grey(9, 1, 11, 1), grey(4, 1, 11, 1)),
    "N = 1": (grey(1, 6, 7, 1), grey(1, 6, 7, 1)),
    "N = 1 RGB": (grey(1, 5, 4, 3), grey(2, 5, 4, 3)),
}


def divided(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    by = np.broadcast_to(by, values.shape)
    return np.where(by > 0, values / np.where(by > 0, by, 1), 0)


def zscore(axes: tuple[int, ...]):
    def reference(train: np.ndarray, x: np.ndarray) -> np.ndarray:
        return divided(x / 255 - (train / 255).mean(axes), spread(train / 255, axes))

    return reference


def spread(train: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    changes = train.max(axes) > train.min(axes)  # what std says of constants is rounding
    return np.where(changes, train.std(axes), 0)


def image_standardize(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    out = []
    for image in x.astype(np.float64):
        adjusted = max(image.std(), 1 / np.sqrt(image.size))
        out.append((image - image.mean()) / adjusted)
    return np.array(out)


def lcn(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[-4:5, -4:5]
    window = np.exp(-(rows**2 + columns**2) / 8.0)

    def local(plane: np.ndarray) -> np.ndarray:
        inside = scipy.ndimage.correlate(np.ones_like(plane), window, mode="constant")
        return scipy.ndimage.correlate(plane, window, mode="constant") / inside

    out = []
    for image in x.astype(np.float64):
        if image.max() == image.min():
            out.append(np.zeros_like(image))
            continue
        mean = sum(local(image[..., k]) for k in range(image.shape[2])) / image.shape[2]
        v = image - mean[..., None]
        sigma = np.sqrt(sum(local(v[..., k] ** 2) for k in range(image.shape[2])) / image.shape[2])
        out.append(v / np.maximum(sigma, sigma.mean())[..., None])
    return np.array(out)


def zca(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Through the singular vectors of the data, without a covariance."""
    if np.ptp(train, axis=0).max() == 0:
        return np.zeros(x.shape)
    flat = train.reshape(len(train), -1) / 255
    _, singular, rows = np.linalg.svd(flat - flat.mean(0))
    variances = np.zeros(flat.shape[1])
    variances[: len(singular)] = singular**2 / len(flat)
    white = (x.reshape(len(x), -1) / 255 - flat.mean(0)) @ rows.T / np.sqrt(variances + 0.1 * flat.var(0).mean())
    return (white @ rows).reshape(x.shape)


def histogram(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    out = np.zeros(x.shape)
    for n in range(len(x)):
        for k in range(x.shape[3]):
            plane = x[n, :, :, k]
            at_or_below = [(plane <= level).sum() for level in range(256)]
            darkest = at_or_below[plane.min()]
            for i, j in np.ndindex(plane.shape):
                spread = plane.size - darkest
                out[n, i, j, k] = (at_or_below[plane[i, j]] - darkest) / spread if spread else plane[i, j] / 255
    return out


REFERENCES = {
    "raw": lambda train, x: x.astype(np.float64),
    "normal": lambda train, x: x / 255,
    "inverted": lambda train, x: 1 - x / 255,
    "signed": lambda train, x: x / 127.5 - 1,
    "global_mean": lambda train, x: (x - train.mean()) / 255,
    "channel_mean": lambda train, x: (x - train.mean((0, 1, 2))) / 255,
    "pixel_mean": lambda train, x: (x - train.mean(0)) / 255,
    "global_zscore": zscore((0, 1, 2, 3)),
    "channel_zscore": zscore((0, 1, 2)),
    "pixel_zscore": zscore((0,)),
    "image_mean": lambda train, x: np.array([image / 255 - np.mean(image / 255) for image in x]),
    "image_standardize": image_standardize,
    "lcn": lcn,
    "zca": zca,
    "histogram": histogram,
}
AFFINE = tuple(name for name in REFERENCES if get_preprocess(name).affine is not None)
PER_IMAGE = ("image_mean", "image_standardize", "lcn", "histogram")


def fitted(name: str, train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What the arm makes of x: always 64 images or more, so that an image shape is compiled once for each arm."""
    arm = get_preprocess(name)
    return transform(arm, arm.fit(train), np.resize(x, (max(64, len(x)), *x.shape[1:])))[: len(x)]


def assert_close(values: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5, relative where values are above 1."""
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_there_is_a_reference_for_every_arm():
    assert list(REFERENCES) == list(registry.PREPROCESSINGS)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("case", CASES)
def test_arm_equals_its_float64_reference(name, case):
    train, test = CASES[case]
    images = np.concatenate([train, test])
    out = fitted(name, train, images)
    assert out.dtype == np.float32
    assert_close(out, REFERENCES[name](train, images))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", AFFINE)
def test_affine_names_what_apply_does(name, case):
    train, test = CASES[case]
    arm = get_preprocess(name)
    assert arm.affine is not None
    params = arm.fit(train)
    scale, offset = arm.affine(params, train.shape[1:])
    assert scale.dtype == offset.dtype == np.float32
    assert scale.shape == offset.shape == train.shape[1:]
    # float32 scale and offset cancel against each other: the error is theirs, and not one of what apply gives
    slack = 1e-6 * (1 + np.abs(scale * 255.0).max())
    np.testing.assert_allclose(fitted(name, train, test), scale.astype(float) * test + offset, rtol=1e-5, atol=slack)


def test_which_arms_are_affine():
    assert tuple(REFERENCES)[:10] == AFFINE


@pytest.mark.parametrize("name", REFERENCES)
def test_what_a_test_image_becomes_does_not_depend_on_its_company(name):
    """Neither on the other test images, of which no statistic is used, nor on its place among them."""
    train, test = CASES["random RGB"]
    together = fitted(name, train, test)
    others = np.concatenate([255 - test[:1], np.zeros_like(test[:2]), test[4:5], test[:1], test[2:3]])
    np.testing.assert_allclose(fitted(name, train, others)[3:], together[[4, 0, 2]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_per_image_arms_fit_nothing(name):
    train, test = CASES["random RGB"]
    np.testing.assert_array_equal(fitted(name, train, test), fitted(name, train[:1] // 2, test))


@pytest.mark.parametrize("name", list(REFERENCES)[4:14])
def test_what_never_changes_gives_exact_zeros(name):
    train = np.full((4, 5, 4, 3), 93, np.uint8)
    train[..., 1:] = 41 if name in {"channel_mean", "pixel_mean", "channel_zscore", "pixel_zscore", "zca"} else 93
    out = fitted(name, train, train)
    assert np.abs(out).max() == 0 or (name.endswith("_mean") and np.abs(out).max() < 1e-7)


def test_a_pixel_that_training_never_changes_is_zero_in_any_test_image():
    train = grey(30, 6, 7, 1)
    train[:, 2, 1] = 17
    out = fitted("pixel_zscore", train, np.full((1, 6, 7, 1), 255, np.uint8)).ravel()
    assert out[2 * 7 + 1] == 0
    assert np.all(np.delete(out, 2 * 7 + 1) != 0)


@pytest.mark.parametrize("name", ["pixel_zscore", "image_mean", "image_standardize", "lcn", "zca", "histogram"])
def test_apply_can_be_jitted_and_mapped_and_keeps_float64(name):
    train, test = CASES["random RGB"]
    arm = get_preprocess(name)
    params = arm.fit(train)
    expected = fitted(name, train, test)
    mapped = jax.jit(jax.vmap(lambda x: arm.apply(params, x[None])[0]))(test)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-6)
    with jax.enable_x64(True):
        assert jax.eval_shape(arm.apply, params, test).dtype == np.float32
        exact = jax.jit(arm.apply)(params, test.astype(np.float64))
        assert exact.dtype == np.float64
        np.testing.assert_allclose(exact, expected, rtol=1e-5, atol=1e-5)


def test_zca_decorrelates():
    mixed = np.linalg.qr(RNG.normal(size=(12, 12)))[0] * np.geomspace(1, 30, 12)
    train = np.clip(128 + RNG.normal(size=(4000, 12)) @ mixed.T, 0, 255).astype(np.uint8).reshape(-1, 3, 4, 1)
    out = fitted("zca", train, train).reshape(len(train), -1)
    before = np.linalg.eigvalsh(np.cov(train.reshape(len(train), -1), rowvar=False))
    after = np.linalg.eigvalsh(np.cov(out, rowvar=False))
    np.testing.assert_allclose(after, before / (before + 0.1 * before.mean()), rtol=1e-3)


@pytest.mark.parametrize(("count", "few"), [(5, True), (59, True), (61, False), (200, False)])
@pytest.mark.parametrize("name", ["zca", "pixel_zscore+zca"])
def test_zca_of_few_images_is_that_of_many(name, count, few, monkeypatch):
    """120 values: up to 59 images go by the products of images, more by the covariance of pixels."""
    train = grey(count, 5, 8, 3)
    taken = []
    for way in ("inverse_root", "inverse_root_of_few"):
        real = getattr(whitening, way)
        monkeypatch.setattr(whitening, way, lambda x, way=way, real=real: taken.append(way) or real(x))
    params = get_preprocess(name).fit(train)
    matrix = (params if name == "zca" else params[-1])["matrix"]
    assert taken == ["inverse_root_of_few" if few else "inverse_root"]
    flat = train.reshape(count, -1) - train.reshape(count, -1).mean(0)
    if name != "zca":
        flat /= np.where(flat.std(0) > 0, flat.std(0), 1)
    _, singular, rows = np.linalg.svd(flat)
    variances = np.zeros(120)
    variances[: len(singular)] = singular**2 / count
    expected = (rows.T / np.sqrt(variances + 0.1 * variances.mean())) @ rows
    np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_zca_is_computed_once_for_the_same_images(monkeypatch):
    computed = []
    real = whitening.inverse_root
    monkeypatch.setattr(whitening, "inverse_root", lambda x: computed.append(len(x)) or real(x))
    zca, behind = get_preprocess("zca"), get_preprocess("pixel_zscore+zca")
    train = [grey(90, 3, 4, 1) for _ in range(whitening.KEPT)]
    first = zca.fit(train[0])["matrix"]
    expected = first.copy()
    first[:] = 0  # that of its caller alone
    np.testing.assert_array_equal(zca.fit(train[0].copy())["matrix"], expected)
    assert len(computed) == 1
    behind.fit(train[0])  # other images
    assert len(computed) == 2
    for images in train[1:]:
        zca.fit(images)
    assert len(whitening._matrices) == whitening.KEPT
    zca.fit(train[0])  # the oldest is gone
    assert len(computed) == 2 + whitening.KEPT


@pytest.mark.parametrize("name", ["pixel_zscore", "zca", "lcn+pixel_zscore"])
def test_slabs_do_not_show(name, monkeypatch):
    """More images than a slab holds, and a last slab that is not full: statistics and values stay the same."""
    train = grey(37, 5, 4, 3)
    whole = fitted(name, train, train)
    monkeypatch.setattr("jaxinv.preprocess.slabs.SLAB_VALUES", 8 * 60)
    arm = get_preprocess(name)
    np.testing.assert_allclose(transform(arm, arm.fit(train), train), whole, rtol=1e-5, atol=1e-5)


def test_one_compiled_shape_serves_all_slabs(monkeypatch):
    monkeypatch.setattr("jaxinv.preprocess.slabs.SLAB_VALUES", 8 * 36)
    shapes = []

    def apply(params, images):
        shapes.append(images.shape)
        return images.astype(np.float32)

    images = grey(29, 6, 6, 1)
    np.testing.assert_array_equal(transform(Preprocess(lambda images: (), apply), (), images), images)
    assert shapes == [(8, 6, 6, 1)]


def test_no_images_give_no_images():
    arm = get_preprocess("normal")
    assert transform(arm, arm.fit(grey(2, 3, 3, 1)), grey(0, 3, 3, 1)).shape == (0, 3, 3, 1)


def test_moments_are_those_of_exact_arithmetic():
    """A large mean and a small variance, where (Σx²)/N − mean² in float32 would lose everything."""
    images = np.full((1001, 1, 2, 1), 255, np.uint8)
    images[0] = 254
    mean, variance = uint8_moments(images)
    assert mean[0, 0, 0] == float(Fraction(255 * 1000 + 254, 1001))
    assert variance[0, 0, 0] == float(Fraction(1000, 1001**2))
    computed = float_moments(images.astype(np.float32))
    np.testing.assert_allclose(computed.mean, mean, rtol=1e-15)
    np.testing.assert_allclose(computed.variance, variance, rtol=1e-9)


def test_real_rgb(shared_data):
    """Real photographs, where pixels and channels are alike and a covariance is badly conditioned."""
    with np.load(shared_data / "cifar10-subset.npz") as arrays:
        train, test = arrays["x_train"][:300, 12:17, 14:18], arrays["x_test"][:4, 12:17, 14:18]
    for name, reference in REFERENCES.items():
        assert_close(fitted(name, train, test), reference(train, test))
