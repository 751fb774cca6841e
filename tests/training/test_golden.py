"""Golden numbers: one update of every built-in network, from a fixed seed on a tiny dataset."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinv import registry
from jaxinv.engine.resolve import resolve
from jaxinv.study import Study
from jaxinv.training import keys
from jaxinv.training.inputs import Affine, Data
from tests.datasets import tiny
from tests.models.test_models import slow_convolutions

pytestmark = pytest.mark.optimized

# the loss of the batch, the loss of all test images afterwards, and the norm of all parameters afterwards
GOLDEN = {
    "softmax": (1.386294, 1.407397, 0.1091911),
    "softmax_nobias": (1.386294, 1.404484, 0.1075765),
    "mlp": (1.435489, 1.422297, 11.46836),
    "mlp_nobias": (1.435489, 1.42109, 11.46834),
    "mlp_bn": (1.593447, 0.9672897, 16.1105),
    "cnn": (1.505499, 1.763055, 7.258038),
    "cnn_bn": (1.68511, 1.929412, 8.7645),
    "mlp_glorot": (1.443425, 1.456445, 9.620189),
    "mlp_he": (1.468408, 1.534173, 16.09462),
    "mlp_sigmoid": (1.49214, 1.500363, 9.619349),
    "hosseini": (1.504311, 6.163789, 31.61482),
    "deep_mnist": (3.011975, 12.94307, 49.8392),
}
MAY_CHANGE = (
    "the golden numbers of {model} have changed. They may change with a new stream of random numbers or a corrected "
    "formula alone, because everybody's results change with them: give the reason in the commit message and in "
    "CHANGELOG.md, and put {found} in their place"
)


def test_every_built_in_network_has_golden_numbers() -> None:
    assert set(GOLDEN) == set(registry.MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*map(slow_convolutions, registry.MODELS)])
def test_one_update_gives_the_golden_numbers(model: str) -> None:
    study = Study(dataset=tiny(), arms=("inverted",), model=model, steps=1, batch_size=20, learning_rate=0.1, seed=3)
    resolved = resolve(study)
    (group,) = resolved.groups
    key, rate = keys.trial_key(keys.root_key(study.seed), 5), jnp.float32(0.1)
    affine = jax.tree.map(lambda a: a[0], group.affine)

    def update(affine: Affine, data: Data) -> Any:
        trial = group.trial
        state, loss = trial.train(trial.init(key, rate), key, affine, rate, jnp.int32(0), data)
        return loss, trial.evaluate(state, affine, data)[0].test_loss, state.params

    loss, test_loss, params = jax.jit(update)(affine, resolved.data(group, 60))
    norm = np.sqrt(sum(np.square(leaf, dtype=np.float64).sum() for leaf in jax.tree.leaves(params)))
    found = [float(loss), float(test_loss), float(norm)]
    message = MAY_CHANGE.format(model=model, found=tuple(float(f"{value:.7g}") for value in found))
    np.testing.assert_allclose(found, GOLDEN[model], rtol=2e-5, err_msg=message)
