"""The networks that trials end with: read back where a run kept them, trained again where it did not."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.core import Tracer

from jaxinv.engine.keeping import named_leaves, network_arrays
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.single_trial import train_one
from jaxinv.errors import InputError, whole
from jaxinv.fields import as_tuple
from jaxinv.preprocess import fit_preprocesses
from jaxinv.results.selection import arm_index, done_mask, rate_index
from jaxinv.store import load, read_networks
from jaxinv.study import Study
from jaxinv.training import keys

Source = str | os.PathLike[str] | xr.Dataset


class Networks(NamedTuple):
    """Networks of one arm at one learning rate.

    Attributes:
      params, model_state: with the trials along the first axis of every array, or of one trial.
      resolved: the study, its names looked up.
      position: of the arm.
    """

    params: Any
    model_state: Any
    resolved: ResolvedStudy
    position: int


def load_params(
    source: Source,
    arm: str,
    trial: int | Sequence[int] | None = None,
    learning_rate: float | None = None,
    *,
    study: Study | None = None,
) -> Any:
    """The parameters that trials end with.

    They are those that a run kept (`keep="params"`). Where it kept none, the trials are trained again from their keys,
    one after another: the same random numbers, and the same parameters up to rounding.

    Args:
      source: a run's folder, or what `run` returned.
      arm: name of one of its arms.
      trial: a number gives that trial's parameters; several, or None for all that are done, give them stacked along a
        first axis, ready for `vmap`.
      learning_rate: may be left out where there is only one.
      study: of the run; needed where it holds objects of your own (a model, a dataset), which folders only name.

    Returns:
      A dictionary of arrays, as the model's `init` gives it.

    >>> import jaxinv as ji
    >>> results = ji.run(ji.Study(trials=3, steps=2, batch_size=10), keep="params")
    >>> load_params(results, "inverted")["first"]["weight"].shape
    (3, 10, 784)
    """
    return _networks(source, arm, trial, learning_rate, study).params


def predictor(
    source: Source,
    arm: str,
    trial: int | Sequence[int] | None = None,
    learning_rate: float | None = None,
    *,
    study: Study | None = None,
) -> Callable[[Any], jax.Array]:
    """A function from images as stored [B, H, W, K] to the logits of trained networks, preprocessing included.

    Args:
      source, arm, trial, learning_rate, study: as for `load_params`.

    Images as stored are grey values from 0 to 255, as `ji.Dataset` holds them.

    Returns:
      A compiled function: logits [B, C] for one trial, [trials, B, C] for several.

    >>> import jaxinv as ji
    >>> results = ji.run(ji.Study(trials=3, steps=2, batch_size=10), keep="params")
    >>> images = ji.load_dataset("mnist").x_test[:5]
    >>> predictor(results, "inverted", trial=2)(images).shape, predictor(results, "inverted")(images).shape
    ((5, 10), (3, 5, 10))
    """
    params, model_state, resolved, position = _networks(source, arm, trial, learning_rate, study)
    model = resolved.treatments[position].model
    preprocess = resolved.preprocesses[position]
    (fitted,) = fit_preprocesses((preprocess,), resolved.dataset.x_train)

    def of_one(params: Any, model_state: Any, seen: jax.Array) -> jax.Array:
        return model.apply(params, model_state, seen, train=False, key=None)[0]

    several = trial is None or not isinstance(trial, int | np.integer)
    precision = "highest" if resolved.study.precision == "exact" else "default"

    @jax.jit
    def logits(images: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(precision):
            seen = preprocess.apply(fitted, images)
            apply = jax.vmap(of_one, in_axes=(0, 0, None)) if several else of_one
            return apply(params, model_state, seen)

    def predict(images: Any) -> jax.Array:
        images = jnp.asarray(images)
        if images.ndim != 4 or images.shape[1:] != model.image_shape:
            needed = ", ".join(map(str, model.image_shape))
            raise InputError(f"images: shape {images.shape} is not allowed; give [B, {needed}]")
        known = not isinstance(images, Tracer) and images.size > 0
        if known and jnp.issubdtype(images.dtype, jnp.floating) and 0 < images.max() <= 1:
            raise InputError("images: floats from 0 to 1 are not allowed; give grey values, 0 to 255, as datasets hold")
        return logits(images)

    return predict


def load_module(
    source: Source, arm: str, trial: int, learning_rate: float | None = None, *, study: Study | None = None
) -> Any:
    """The network that a trial ends with, as the flax nnx module that it is, ready to be called on preprocessed images.

    Args:
      source, arm, trial, learning_rate, study: as for `load_params`.

    Raises:
      InputError: as `load_params`; and a model that is not an nnx module.

    >>> import jaxinv as ji
    >>> results = ji.run(ji.Study(trials=2, steps=2, batch_size=10, model="mlp"), keep="params")
    >>> load_module(results, "normal", 1)(jnp.zeros((5, 28, 28, 1))).shape
    (5, 10)
    """
    whole("trial", trial, 0)
    params, model_state, resolved, position = _networks(source, arm, trial, learning_rate, study)
    network = resolved.treatments[position].model
    if network.model.restore is None:
        raise InputError(f"model: {network.name!r} is no nnx module; give an arm of one that is, or use ji.load_params")
    return network.model.restore(network.image_shape, network.classes, params, model_state)


def _networks(
    source: Source, arm: str, trial: int | Sequence[int] | None, learning_rate: float | None, study: Study | None
) -> Networks:
    stored = isinstance(source, str | os.PathLike)
    results = load(source) if stored else source
    position, rate = arm_index(results, arm), rate_index(results, learning_rate)
    resolved = _resolved(_study(results, study))
    numbers = _numbers(trial, done_mask(results))
    if stored:
        kept = read_networks(source, arm, rate, numbers)
    else:
        kept = _in_memory(results, resolved, position, rate, numbers)
    treatment = resolved.treatments[position]
    if kept is None:
        again = resolved.study.arms[position]
        at = resolved.study.rates(resolved.study.complete_arms[position])[rate]
        ends = [train_one(resolved.study, arm=again, learning_rate=at, trial=number) for number in numbers]
        params, model_state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends)
    else:
        shapes = jax.eval_shape(treatment.model.init, keys.root_key(0))
        leaves = [kept[name] for name, _ in named_leaves(*shapes)]
        params, model_state = jax.tree.unflatten(jax.tree.structure(shapes), [jnp.asarray(leaf) for leaf in leaves])
    if isinstance(trial, int | np.integer):
        params, model_state = jax.tree.map(lambda leaf: leaf[0], (params, model_state))
    return Networks(params, model_state, resolved, position)


def _study(results: xr.Dataset, study: Study | None) -> Study:
    """The study of results: as given, if it is that one; otherwise as they say."""
    if study is None:
        try:
            return Study.from_json(results.attrs["study"])
        except InputError as error:
            field, why = str(error).split(": ", 1)
            raise InputError(f"study: {field} {why.split('; ')[0]}; give study=, the ji.Study that was run") from None
    if study.hash != results.attrs["study_hash"]:
        raise InputError("study: it is not the study of these results; give the one that was run")
    return study


@lru_cache(maxsize=4)
def _resolved(study: Study) -> ResolvedStudy:
    return resolve(study)


def _numbers(trial: int | Sequence[int] | None, done: np.ndarray) -> list[int]:
    """Which trials are meant; `InputError` for one that is not there or not done."""
    if trial is None:
        return np.flatnonzero(done).tolist()
    asked = as_tuple(trial)
    asked = (trial,) if asked is None else asked
    if not asked:
        raise InputError("trial: none given; give one or more numbers, or None for all")
    numbers = [whole("trial", number, 0, len(done) - 1) for number in asked]
    for number in numbers:
        if not done[number]:
            raise InputError(f"trial: {number} is not finished; give one that is, or run the study to its end")
    return numbers


def _in_memory(
    results: xr.Dataset, resolved: ResolvedStudy, position: int, rate: int, numbers: list[int]
) -> dict[str, np.ndarray] | None:
    """As `read_networks`, of results that hold their networks themselves."""
    arrays = [array for array in network_arrays(resolved) if position in array.arms and array.name in results]
    if not arrays:
        return None
    return {a.leaf: results[a.name].values[a.arms.index(position), rate, numbers] for a in arrays}
