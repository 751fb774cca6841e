"""What fast products cost in accuracy, on hardware that has none: softmax regression with rounded operands.

python benchmarks/precision.py --trials 400

Where a GPU multiplies in TF32 (10 bits after the leading one) or bfloat16 (7), it rounds both operands of a product
and adds up in float32. Pixels as stored, 0 to 255, are exact in either; the folded weights and the gradient at the
logits are not, and are rounded here. Trials are paired with those of exact products.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: modules are looked up from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import jax
import numpy as np
import tyro
from jax import lax

import jaxinv as ji
from benchmarks import machine, ours
from jaxinv.models import Model, get_model
from jaxinv.models.model import Apply, BoundInit, ImageShape
from jaxinv.stats import summary

FORMATS = {"TF32": 10, "bfloat16": 7}
RATES = (0.02, 0.5)  # at the second, `inverted` is far beyond the stable range


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    trials: int = 400
    """Pairs of trials."""
    json: bool = False
    """One JSON object on standard output."""
    tiny: bool = False
    """A few small trials: does it work?"""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    ours.configure()
    study = ji.Study(learning_rate=RATES, trials=options.trials)
    if options.tiny:
        study = study.replace(dataset=ours.small_mnist(), trials=4, steps=5)
    exact = ji.run(study, progress=False).accuracy.values[..., -1]
    rows: list[dict[str, Any]] = []
    for name, digits in FORMATS.items():
        rounded = ji.run(study.replace(model=softmax_of(digits)), progress=False).accuracy.values[..., -1]
        for arm, rate in np.ndindex(exact.shape[:2]):
            where = {"format": name, "arm": study.arm_names[arm], "learning_rate": RATES[rate]}
            rows.append({**where, **of((rounded - exact)[arm, rate])})
    if options.json:
        print(json.dumps({"benchmark": "precision", **machine.describe(), "trials": study.trials, "rows": rows}))
        return
    print("change of accuracy, points     mean (standard error)   largest of a trial")
    for row in rows:
        what = f"{row['format']:10}{row['arm']:10}at {row['learning_rate']:<6g}"
        print(f"{what}{100 * row['mean']:+15.4f} ({100 * row['standard_error']:.4f}){100 * row['largest']:20.2f}")


def of(changes: np.ndarray) -> dict[str, float]:
    """What changed over the trials."""
    found = summary(changes)
    error = found.sd / len(changes) ** 0.5
    return {"mean": found.mean, "standard_error": error, "largest": float(abs(changes).max())}


def softmax_of(digits: int) -> Model:
    """Softmax regression whose products see numbers of so many binary digits after the leading one."""
    exact = get_model("softmax")

    def low(numbers: jax.Array) -> jax.Array:
        return lax.reduce_precision(numbers, 8, digits)

    @jax.custom_vjp
    def backwards(logits: jax.Array) -> jax.Array:
        return logits

    backwards.defvjp(lambda logits: (logits, None), lambda _, gradient: (low(gradient),))

    def seen(weights: jax.Array) -> jax.Array:  # whose own gradient is added up, and stays, in float32
        return weights + lax.stop_gradient(low(weights) - weights)

    def build(image_shape: ImageShape, classes: int) -> tuple[BoundInit, Apply]:
        bound = exact.bind(image_shape, classes)

        def apply(params: Any, state: Any, images: jax.Array, *, train: bool, key: jax.Array | None) -> Any:
            weights = jax.tree.map(lambda leaf: seen(leaf) if leaf.ndim > 1 else leaf, params)
            logits, state = bound.apply(weights, state, images, train=train, key=key)
            return backwards(logits), state

        return bound.init, apply

    return replace(exact, name=f"softmax of {digits} digits", build=build)


if __name__ == "__main__":
    main()
