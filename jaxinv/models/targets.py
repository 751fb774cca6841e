"""How programs are written for each kind of device: the one place that decides.

The same mathematics can be written in several ways, and each platform's compiler makes something else of each. While a
program is traced, `current` says which ways its target takes, to whatever asks: layers, trials, the engine.

Accelerators were judged by what their compilers make of whole programs (`benchmarks/accelerators.py`), not by a clock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Target:
    """The ways that programs for one platform take.

    Attributes:
      in_turn: train trials one after another, so that each fits the caches, rather than all side by side.
      convolution: by patches and a matrix product (`models.im2col`), or XLA's own.
      pooled: take a convolution and the pooling behind it as one (`models.conv_pool`).
      direct_weights: kernels with so few weights for each output are then sums of shifted images, without a product.
      keep_patches: keep a convolution's patches for the backward pass, rather than make them again.
      pixels: the type of stored images on the device. bfloat16 holds 0 to 255 exactly.
      flat: keep images as rows [N, D], rather than [N, H, W, K].
      scale_after: where an arm has one scale for all pixels, multiply after the first product, and not its weights.
      offset: what a folded offset adds, W·o, as a matrix product, or as a sum that is fused into the pass over W.
      spread_classes: write sums and maxima over so few classes out, so that one pass over the logits finds them all.
      labels_first: gather the labels of all updates before the training loop.
      unroll: updates that one trip of the training loop makes, where they are many.
    """

    in_turn: bool
    convolution: Literal["product", "xla"]
    pooled: bool
    direct_weights: int
    keep_patches: bool
    pixels: Literal["uint8", "bfloat16"]
    flat: bool
    scale_after: bool
    offset: Literal["product", "sum"]
    spread_classes: int
    labels_first: bool
    unroll: int


CPU = Target(
    in_turn=True,
    convolution="product",
    pooled=False,
    direct_weights=0,
    keep_patches=True,
    pixels="uint8",
    flat=False,
    scale_after=False,
    offset="product",
    spread_classes=0,
    labels_first=False,
    unroll=1,
)
GPU = Target(
    in_turn=False,
    convolution="product",
    pooled=True,
    direct_weights=27,
    keep_patches=False,
    pixels="bfloat16",
    flat=True,
    scale_after=True,
    offset="sum",
    spread_classes=16,
    labels_first=True,
    unroll=5,
)
TPU = Target(
    in_turn=False,
    convolution="xla",
    pooled=False,
    direct_weights=0,
    keep_patches=True,
    pixels="uint8",
    flat=True,
    scale_after=True,
    offset="sum",
    spread_classes=16,
    labels_first=True,
    unroll=1,
)

BY_PLATFORM = {"cpu": CPU, "gpu": GPU, "cuda": GPU, "rocm": GPU, "tpu": TPU}

_current: ContextVar[Target] = ContextVar("target", default=CPU)  # outside of programs: right everywhere


def target_of(platform: str) -> Target:
    """The ways for a device's `platform`; one that is not known is taken for something like a TPU."""
    return BY_PLATFORM.get(platform, TPU)


def current() -> Target:
    """The ways of the program that is being traced."""
    return _current.get()


@contextmanager
def writing_for(target: Target) -> Iterator[None]:
    """What is traced meanwhile, in this thread, is written for this target."""
    token = _current.set(target)
    try:
        yield
    finally:
        _current.reset(token)
