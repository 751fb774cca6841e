"""From the results of a cell to what to use in it, and to what the second discussion says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from jaxinv import stats
from jaxinv.experiments.claims.estimates import difference
from jaxinv.experiments.claims.rule import Criterion, Region, verdict
from jaxinv.experiments.recommendation.cells import Cell
from jaxinv.results.cells import cell as result_cell
from jaxinv.utils.jsonable import jsonable

MATTERS = 0.005


@dataclass(frozen=True)
class Comparison:
    """Something that the second discussion says of two arms; `light`: where it is said of one light alone."""

    name: str
    says: str
    a: str
    b: str
    region: Region
    light: str = ""

    @property
    def criterion(self) -> Criterion:
        """What has to hold."""
        return Criterion(figure=f"{self.a} minus {self.b}", region=self.region, margin=MATTERS)


COMPARISONS = (
    Comparison("channel mean", "Subtracting each channel's mean helps.", "channel_mean", "normal", "above"),
    Comparison("pixel mean", "Subtracting the mean image helps.", "pixel_mean", "normal", "above"),
    Comparison("pixel or channel", "By pixel or by channel is the same.", "pixel_mean", "channel_mean", "within"),
    Comparison("deviation", "Dividing by the deviation as well helps.", "channel_zscore", "channel_mean", "above"),
    Comparison(
        *("per image, changing light", "In changing light, normalising each image by itself is better."),
        *("image_standardize", "channel_zscore", "above", "changing"),
    ),
    Comparison(
        *("per image, steady light", "In steady light, normalising by the dataset is better."),
        *("channel_zscore", "image_standardize", "above", "steady"),
    ),
    Comparison(
        "local contrast", "Local contrast normalisation is better than z-scores.", "lcn", "channel_zscore", "above"
    ),
    Comparison("whitening harms", "Whitening harms generalisation.", "channel_zscore", "zca", "above"),
)


def judge_cell(cell: Cell, results: xr.Dataset, rates: Mapping[str, float], images: int) -> dict[str, Any]:
    """What to use in a cell, by how much, and what is as good; and the comparisons of the second discussion.

    Args:
      results: of the arms at their own learning rates.
      rates: these.
      images: how many training images there are in all.
    """
    values = {str(arm): result_cell(results, str(arm)).accuracy for arm in results.arm.values}
    first = next(iter(values))
    even = {arm: float(accuracy[::2].mean()) for arm, accuracy in values.items()}
    best = max(even, key=lambda arm: even[arm])
    odd = {arm: accuracy[1::2] for arm, accuracy in values.items()}
    gain = difference(odd[best], odd[first])
    worse = Criterion(figure="", region="above", margin=MATTERS)
    behind = {arm: difference(odd[best], accuracy) for arm, accuracy in odd.items() if arm != best}
    alike = [arm for arm, gap in behind.items() if verdict([worse.apply(gap)]) != "supported"]
    found = {
        **{"model": cell.model, "light": cell.light, "images": cell.images or images, "all": cell.images is None},
        **{"use": best, "instead_of": first, "accuracy": float(odd[best].mean()), "gain": gain.value},
        **{"ci95": gain.ci95, "n": gain.n, "as_good": alike, "rates": dict(rates)},
        "arms": {arm: _summary(accuracy) for arm, accuracy in values.items()},
        "comparisons": [compare(one, values) for one in COMPARISONS if applies(one, cell, values)],
    }
    return jsonable(found)


def applies(one: Comparison, cell: Cell, values: Mapping[str, np.ndarray]) -> bool:
    """Whether a comparison is about a cell, and its arms were run."""
    return one.light in ("", cell.light) and {one.a, one.b} <= set(values)


def compare(one: Comparison, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A comparison on all trials: its arms were named beforehand."""
    gap = difference(values[one.a], values[one.b])
    found = verdict([one.criterion.apply(gap)])
    return {"name": one.name, "verdict": found, "value": gap.value, "ci95": gap.ci95, "n": gap.n}


def headline(cells: Sequence[Mapping[str, Any]]) -> str:
    """How often which arm is recommended."""
    used = [cell["use"] for cell in cells]
    ranked = sorted(set(used), key=lambda arm: -used.count(arm))
    told = ", ".join(f"{arm} in {used.count(arm)}" for arm in ranked)
    first = cells[0]["instead_of"]
    plain = sum(first in (cell["use"], *cell["as_good"]) for cell in cells)
    also = f" In {plain}, {first} is as good." if plain else ""
    return f"Of {len(cells)} combinations of model, light and training images, use {told}.{also}"


def _summary(accuracy: np.ndarray) -> dict[str, Any]:
    summary = stats.summary(accuracy)
    return {"mean": summary.mean, "sd": summary.sd, "ci95": summary.ci95, "n": summary.n}
