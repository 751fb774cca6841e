"""What each arm costs on all 70,000 images of MNIST: fitting it to the training images, and applying it to all.

    python benchmarks/arms.py                     every arm, as a table
    python benchmarks/arms.py --arms lcn --json   one of them, every sample, as one JSON object

Beside them, where it says something, the same arm as one would write it in NumPy and SciPy. Programs are compiled in
the first run, which is not counted. Exit status 1: an arm and its peer disagree.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import scipy.ndimage
import tyro
from rich.box import SIMPLE
from rich.table import Table

from benchmarks import machine, ours, report
from benchmarks.harness import Disagreement, sample, say
from jaxinv import registry
from jaxinv.data import bundled_mnist
from jaxinv.preprocess import fit_preprocesses, get_preprocess, transform

GOAL_S = {"lcn": 5.0}
OTHER_GOAL_S = 1.0
TOLERANCE = 1e-4

Images = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how often."""

    arms: tuple[str, ...] = tuple(registry.PREPROCESSINGS)
    """Which arms, compositions too."""
    repeats: int = 5
    """Samples of each."""
    peers: bool = True
    """Measure the peers too."""
    json: bool = False
    """One JSON object on standard output, instead of a table."""
    tiny: bool = False
    """A few hundred images: does it all work?"""


@dataclass
class Row:
    """One arm's samples, in seconds, and how far its peer's values are from its own."""

    name: str
    goal_s: float
    first_s: float
    fit_s: list[float] = field(default_factory=list)
    apply_s: list[float] = field(default_factory=list)
    peer_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    difference: float | None = None

    @property
    def total_s(self) -> float:
        """The median over the repeats of fitting and applying."""
        return float(np.median(np.add(self.fit_s, self.apply_s)))

    @property
    def met(self) -> bool:
        return self.total_s < self.goal_s

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "total_s": self.total_s, "met": self.met}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.tiny:
        options = replace(options, repeats=2)
    ours.configure()
    full = bundled_mnist()
    train, test = (full.x_train[:400], full.x_test[:100]) if options.tiny else (full.x_train, full.x_test)
    try:
        rows, together = measure(options, train, np.concatenate([train, test]))
    except Disagreement as error:
        sys.exit(f"arms: {error}")
    facts = {"training_images": len(train), "images": len(train) + len(test), "affine_fits_together_s": together}
    if options.json:
        rows_json = [row.to_dict() for row in rows]
        report.print_json({"benchmark": "arms", **machine.describe(), **facts, "arms": rows_json})
        return
    console = report.console()
    console.print(table(f"{facts['images']:,} images, fitted to {facts['training_images']:,}: medians", rows))
    if together:
        console.print(f"all affine arms here fitted together: {report.seconds(float(np.median(together)))}")


def measure(options: Options, train: Images, images: Images) -> tuple[list[Row], list[float]]:
    """Every arm in turn, repeat after repeat; and the fits of all affine arms at once.

    Raises:
      Disagreement: an arm and its peer give different values.
    """
    arms = [get_preprocess(name) for name in options.arms]
    rows = []
    for arm in arms:
        say(f"{arm.name}: first run")
        made: dict[str, Images] = {}
        first, _ = sample(lambda arm=arm, made=made: made.update(ours=transform(arm, arm.fit(train), images)))
        rows.append(Row(arm.name, GOAL_S.get(arm.name, OTHER_GOAL_S), first))
        if options.peers and arm.name in PEERS:
            rows[-1].difference = difference(arm.name, made["ours"], PEERS[arm.name](train, images))
    affine = [arm for arm in arms if arm.affine is not None]
    together = []
    for repeat in range(options.repeats):
        for arm, row in zip(arms, rows, strict=True):
            say(f"repeat {repeat + 1} of {options.repeats}: {arm.name}")
            fit, others = sample(lambda arm=arm: arm.fit(train))
            params = arm.fit(train)
            apply, others_too = sample(lambda arm=arm, params=params: transform(arm, params, images))
            row.fit_s.append(fit)
            row.apply_s.append(apply)
            row.others.append(max(others, others_too))
            if options.peers and arm.name in PEERS:
                row.peer_s.append(sample(lambda name=arm.name: PEERS[name](train, images))[0])
        if affine:
            together.append(sample(lambda: fit_preprocesses(affine, train))[0])
    return rows, together


def difference(name: str, values: Images, peers: Images) -> float:
    """The largest difference between two versions of an arm, relative to values above 1."""
    worst = max(
        float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max())
        for a, b in zip(np.array_split(values, 50), np.array_split(peers, 50), strict=True)
    )
    if not worst <= TOLERANCE:
        raise Disagreement(f"{name} and its peer differ by {worst:.2g}; allowed: {TOLERANCE}")
    return worst


def table(title: str, rows: list[Row]) -> Table:
    """One line for each arm."""
    out = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    out.add_column("arm", overflow="fold", min_width=19)
    for heading in ("fit", "apply", "both", "goal", "reached", "NumPy", "ratio", "others"):
        out.add_column(heading, justify="right")
    for row in rows:
        times = [float(np.median(row.fit_s)), float(np.median(row.apply_s)), row.total_s]
        peer = float(np.median(row.peer_s)) if row.peer_s else None
        goal = [f"< {row.goal_s:g} s", "yes" if row.met else "no"]
        ratio = f"{peer / row.total_s:.1f}" if peer else ""
        others = f"{np.mean(row.others):.0%}" if np.isfinite(row.others).all() else "?"
        out.add_row(row.name, *map(report.seconds, times), *goal, report.seconds(peer), ratio, others)
    return out


# The arms as one would write them in NumPy and SciPy: (training images, images) -> float32 images


def normal(train: Images, images: Images) -> Images:
    return images.astype(np.float32) / 255


def inverted(train: Images, images: Images) -> Images:
    return 1 - normal(train, images)


def pixel_mean(train: Images, images: Images) -> Images:
    return normal(train, images) - (train.mean(axis=0) / 255).astype(np.float32)


def pixel_zscore(train: Images, images: Images) -> Images:
    spread = train.std(axis=0)
    x = images - train.mean(axis=0).astype(np.float32)
    return np.where(spread > 0, x / np.where(spread > 0, spread, 1).astype(np.float32), 0).astype(np.float32)


def image_standardize(train: Images, images: Images) -> Images:
    x = images.astype(np.float32)
    spread = x.std(axis=(1, 2, 3), keepdims=True)
    return (x - x.mean(axis=(1, 2, 3), keepdims=True)) / np.maximum(spread, x[0].size ** -0.5)


def lcn(train: Images, images: Images) -> Images:
    """With scipy.ndimage; one channel."""

    def local(planes: Images) -> Images:
        options = {"sigma": 2.0, "radius": 4, "mode": "constant", "axes": (1, 2)}
        return scipy.ndimage.gaussian_filter(planes, **options) / scipy.ndimage.gaussian_filter(ones, **options)

    x = images[..., 0].astype(np.float32)
    ones = np.ones_like(x[:1])
    v = x - local(x)
    s = np.sqrt(local(np.square(v)))
    divisor = np.maximum(s, s.mean(axis=(1, 2), keepdims=True))
    return (v / np.where(divisor > 0, divisor, 1))[..., None]


def zca(train: Images, images: Images) -> Images:
    flat = train.reshape(len(train), -1)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
    matrix = (vectors / np.sqrt(values + 0.1 * values.mean())) @ vectors.T
    x = images.reshape(len(images), -1) - flat.mean(axis=0).astype(np.float32)
    return (x @ matrix.astype(np.float32)).reshape(images.shape)


def histogram(train: Images, images: Images) -> Images:
    out = np.empty(images.shape, np.float32)
    for image, place in zip(images.reshape(len(images), -1), out.reshape(len(images), -1), strict=True):
        below = np.cumsum(np.bincount(image, minlength=256))
        darkest = below[image.min()]
        most = image.size - darkest
        place[:] = (below[image] - darkest) / most if most else image / 255
    return out


PEERS: dict[str, Callable[[Images, Images], Images]] = {
    peer.__name__: peer for peer in (normal, inverted, pixel_mean, pixel_zscore, image_standardize, lcn, zca, histogram)
}


if __name__ == "__main__":
    main()
