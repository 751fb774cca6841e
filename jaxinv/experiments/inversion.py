"""The published inversion experiment: what it reports, what its text says, and what its script runs.

A published answer trains MNIST softmax regression on normal and on inverted grey values, "100 trials in each of which
we perform 50 updates", and reports mean accuracies. Its script initialises the network once per preprocessing and never
again, so what it ran is not 100 trials of 50 updates but one chain of 5,000 updates, evaluated 100 times.
"""

from jaxinv.errors import whole
from jaxinv.experiments.sources import INVERSION
from jaxinv.study import Study

SOURCE = INVERSION
QUESTION = "Does inverting the grey values change what a network learns?"
PUBLISHED = {"normal": 0.91879, "inverted": 0.837478}
ARMS = tuple(PUBLISHED)
UPDATES, EVALUATIONS = 50, 100

WRITTEN, FRESH = "as_written", "independent"
READINGS = {
    WRITTEN: "As written: one chain, evaluated again and again",
    FRESH: "Independent: fresh trials, as the text says",
}
WHY = (
    "The two readings differ because the published script initialises the network once per preprocessing, outside its "
    "loop over trials, and never again. What it calls 100 trials of 50 updates is one chain of 5,000 updates that is "
    "evaluated 100 times: what it calls trial 100 has had 5,000 updates. Fresh trials of 50 updates, as its text says, "
    "score lower, and far lower with inverted pixels."
)
ODD = 2.0
"""Standard deviations of single chains from their mean, beyond which a published figure does not replicate."""


def studies(*, chains: int = 8, trials: int = 100, seed: int = 0) -> dict[str, Study]:
    """The two readings: chains never re-initialised, evaluated every 50 updates; and fresh trials of 50 updates."""
    for name, count in (("chains", chains), ("trials", trials)):
        whole(name, count)
    published = Study(arms=ARMS, model="softmax", optimizer="sgd", learning_rate=0.5, batch_size=100, seed=seed)
    return {
        WRITTEN: published.replace(steps=UPDATES * EVALUATIONS, eval_every=UPDATES, trials=chains),
        FRESH: published.replace(steps=UPDATES, trials=trials),
    }


def command(*, chains: int, trials: int, seed: int) -> str:
    """What runs them."""
    return f"jaxinv replicate --chains {chains} --trials {trials} --seed {seed}"
