"""One trial by itself: for those who bring their own `vmap`, `shard_map` or loop."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxinv.arm import Arm, as_arm
from jaxinv.engine.resolve import resolve
from jaxinv.preprocess import Preprocess
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.inputs import Affine, Data
from jaxinv.training.trial import TrialResult

TILE = 1000  # test images evaluated together


def make_trial(
    study: Study, arm: str | Preprocess | Arm | None = None
) -> tuple[Callable[..., TrialResult], Affine, Data]:
    """The pure function inside a run.

    Args:
      study: its trials, seed and learning rate are left to the caller.
      arm: one of its arms; None: the first.

    Returns:
      (trial, arm, data): `trial(key, learning_rate, arm, data) -> TrialResult` is one unbatched trial, and `arm` and
      `data` are arrays to pass on to it. With key `keys.trial_key(keys.root_key(seed), t)` it is trial t of `run`.

    Raises:
      InputError: parts of the study that do not fit together.
      DataError: the data cannot be had.

    >>> trial, arm, data = make_trial(Study(steps=3, batch_size=10), "inverted")
    >>> root = keys.root_key(0)
    >>> many = jax.vmap(lambda t: trial(keys.trial_key(root, t), 0.5, arm, data))
    >>> jax.jit(many)(jnp.arange(4)).hits.shape
    (4, 1)
    """
    resolved = resolve(study.replace(arms=(study.arms[0] if arm is None else arm,)))
    group = resolved.groups[0]
    design = replace(group.trial, optimizer=resolved.treatments[0].optimizer)  # at whatever rate the caller gives

    def trial(key: jax.Array, learning_rate: Any, arm: Affine, data: Data) -> TrialResult:
        return design.run(key, arm, learning_rate, data)

    affine = jax.tree.map(lambda a: jnp.asarray(a[0]), group.affine)
    return trial, affine, jax.tree.map(jnp.asarray, resolved.data(group, TILE))


def train_one(
    study: Study, *, arm: str | Preprocess | Arm, learning_rate: float | None = None, trial: int = 0
) -> tuple[Any, Any]:
    """The parameters and the state that one trial of a study ends with, which stored results do not keep.

    Args:
        study: whose trial; its other arms and learning rates are left out.
        arm: of the study, or another.
        learning_rate: what it is trained at; None: the arm's own, or the study's first.
        trial: its number.

    Raises:
        InputError: an arm or learning rate that makes no sense.
        DataError: the data cannot be had.
    """
    own = as_arm(arm)
    if learning_rate is None:
        first = study.replace(arms=(own,))
        learning_rate = first.rates(first.complete_arms[0])[0]
    alone = own.replace(learning_rate=None)
    resolved = resolve(study.replace(arms=(alone,), learning_rate=learning_rate, eval_every=None))
    (group,) = resolved.groups
    design, data = group.trial, resolved.data(group, TILE)
    affine = Affine(*(a[0] for a in group.affine))

    @jax.jit
    def train(key: jax.Array, affine: Affine, rate: jax.Array, data: Data) -> Any:
        return design.train(design.init(key, rate), key, affine, rate, jnp.zeros((), jnp.int32), data)

    end, _ = train(keys.trial_key(keys.root_key(study.seed), trial), affine, jnp.float32(learning_rate), data)
    return end.params, end.model_state
