"""The affine preprocessings: x ↦ s∘x + o, pixel by pixel. A layer that is linear in the pixels can take them in.

In the formulas x is a stored grey value, 0 to 255; i, j and k are its row, column and channel. Standard deviations are
roots of mean squares: divided by N, not by N − 1.
"""

import numpy as np

from jaxinv.preprocess.preprocessing import GREY, NORMAL, UNIT, Limits, affine_component, rescale
from jaxinv.preprocess.training_images import AffineMap, TrainingImages

GLOBAL, CHANNEL, PIXEL = (0, 1, 2), (0, 1), ()
"""The axes of [H, W, K] over which a statistic is taken, besides the training images."""


def raw(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Grey values as stored, 0 to 255.

    Formula: x
    Source: what a network is given if nobody scales its input
    """
    return rescale(training, before, limits, *GREY)


def inverted(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Black and white exchanged: black 1, white 0.

    Formula: 1 − x/255
    Source: the published inversion experiment, which `jaxinv replicate` runs
    """
    return rescale(training, before, limits, 1, 0)


def signed(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Black −1, white 1.

    Formula: 2x/255 − 1
    Source: Inception's preprocessing in TensorFlow-Slim, inception_preprocessing.py
    """
    return rescale(training, before, limits, -1, 1)


def global_mean(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Normal minus one number, the mean of all training pixels.

    Formula: (x − m)/255, m the mean of all training pixels
    Source: LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.3, with a single mean
    """
    return center(training, before, GLOBAL)


def channel_mean(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Normal minus each channel's mean over the training images.

    Formula: (x − m_k)/255, m_k the training mean of channel k
    Source: Simonyan and Zisserman 2015 (VGG), arXiv 1409.1556, section 2.1
    """
    return center(training, before, CHANNEL)


def pixel_mean(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Normal minus the mean training image.

    Formula: (x − m_ijk)/255, m_ijk the training mean of the pixel
    Source: Krizhevsky et al. 2012, section 2, and Caffe's reference network; Chatfield et al. 2014 (CNN_S)
    """
    return center(training, before, PIXEL)


def global_zscore(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """One mean and one standard deviation, of all training pixels; 0 if they are all the same.

    Formula: (x − m)/s, m and s the mean and the standard deviation of all training pixels
    Source: PyTorch's MNIST example, transforms.Normalize((0.1307,), (0.3081,))
    """
    return standardize(training, before, GLOBAL)


def channel_zscore(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Each channel's mean and standard deviation over the training images; 0 where a channel never changes.

    Formula: (x − m_k)/s_k, m_k and s_k those of the channel over the training images
    Source: torchvision's ImageNet models, transforms.Normalize
    """
    return standardize(training, before, CHANNEL)


def pixel_zscore(training: TrainingImages, before: AffineMap | None, limits: Limits | None) -> AffineMap:
    """Each pixel's mean and standard deviation over the training images; 0 where a pixel never changes in training.

    Formula: (x − m_ijk)/s_ijk, m_ijk and s_ijk those of the pixel over the training images; 0 where s_ijk = 0
    Source: LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.3

    A pixel that never changes in training is 0 in every image, whatever a test image shows there: nothing has been
    learnt about it. Any other pixel gets the plain z-score, with no floor under s. So a pixel that is seldom on gives
    large values: up to √(N − 1) in training (234 on MNIST's 55,000 images) and beyond that in testing (404), which asks
    for smaller steps. A floor of one grey level would change little of that (226 and 248); a higher one would make
    another preprocessing. Behind a preprocessing that is not affine, "never" means: by no more than float32 rounding.
    """
    return standardize(training, before, PIXEL)


def pooled_mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The mean over the pixels that share a statistic; exact where they are all the same."""
    if not axes:
        return values
    first = values[tuple(slice(1) if axis in axes else slice(None) for axis in range(3))]
    return first + (values - first).mean(axis=axes, keepdims=True)


def center(training: TrainingImages, before: AffineMap | None, axes: tuple[int, ...]) -> AffineMap:
    """Subtract the pooled mean of s∘x + o, which is pooled_mean(s∘mean) + pooled_mean(o).

    The two are kept apart: o − pooled_mean(o) is exactly 0 wherever the pixels of a pool share one offset. So nothing
    is left of `inverted`'s 1, and its map becomes the exact negative of `normal`'s.
    """
    before = training.map_or_identity(before)
    mean = pooled_mean(before.scale * training.moments.mean, axes)
    return AffineMap(before.scale, (before.offset - pooled_mean(before.offset, axes)) - mean)


def standardize(training: TrainingImages, before: AffineMap | None, axes: tuple[int, ...]) -> AffineMap:
    """Divide the centred images by their pooled standard deviation; what never changes becomes 0."""
    scale, offset = center(training, before, axes)
    within = scale**2 * training.moments.variance
    between = (scale * training.moments.mean + offset) ** 2 if axes else np.zeros_like(within)
    spread = np.sqrt(pooled_mean(within + between, axes))
    inverse = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return AffineMap(scale * inverse, offset * inverse)


COMPONENTS = (
    affine_component(raw, needs_limits=True, limits=GREY),
    NORMAL,
    affine_component(inverted, needs_limits=True, limits=UNIT),
    affine_component(signed, needs_limits=True, limits=(-1.0, 1.0)),
    affine_component(global_mean, reads_unit=True),
    affine_component(channel_mean, reads_unit=True),
    affine_component(pixel_mean, reads_unit=True),
    affine_component(global_zscore, reads_unit=True, standardizes=True),
    affine_component(channel_zscore, reads_unit=True, standardizes=True),
    affine_component(pixel_zscore, reads_unit=True, standardizes=True),
)
