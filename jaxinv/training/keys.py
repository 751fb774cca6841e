"""From one seed to one key per trial to named streams.

A trial's key is `fold_in(root, trial)`, never a position in a `split`, so that a trial draws the same numbers whatever
the chunk size, the number of devices or processes, and whether it was resumed or added later.
"""

import jax

# threefry on purpose: under `vmap`, the faster `rbg` draws a whole batch of trials from the first trial's key
IMPLEMENTATION = "threefry2x32"

STREAMS = {"init": 0, "shuffle": 1, "model": 2, "subset": 3, "labels": 4, "augment": 5}


def root_key(seed: int) -> jax.Array:
    """The key of a whole study, from its seed (0 to 2³²-1)."""
    return jax.random.key(seed, impl=IMPLEMENTATION)


def trial_key(root: jax.Array, trial: jax.Array | int) -> jax.Array:
    """Trial t's own key; it depends on the seed and t alone."""
    return jax.random.fold_in(root, trial)


def stream(key: jax.Array, name: str) -> jax.Array:
    """A trial's independent stream for one purpose: "init", "shuffle", "model" (dropout and the like), …"""
    return jax.random.fold_in(key, STREAMS[name])
