"""Raw, scaled and inverted MNIST in a cookbook that changes batch size and epochs along with the images."""

from collections.abc import Mapping

from jaxinv.experiments.published.experiment import Experiment, Plan, Size, Statement
from jaxinv.experiments.published.measures import Cell, scores_more

BATCHES = {32: (60, 860, 859_500), 1024: (8, 108, 26_850)}
"""batch size -> updates at each size; in full, 500 epochs of 55,000 images"""


def studies(size: Size) -> Mapping[str, Plan]:
    """Every kind of image at every batch size."""
    how = {
        "model": "mlp_glorot:1000",
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "arms": ("raw", "normal", "inverted"),
    }
    return {
        f"batch_{batch}": Plan(
            size.study("mnist", **how, batch_size=batch, steps=size.pick(*steps), trials=6),
            title=f"Batches of {batch:,}",
        )
        for batch, steps in BATCHES.items()
    }


def statements(batch: int) -> list[Statement]:
    """What the recipes say, at one batch size for all images."""
    raw, scaled, inverted = (Cell(f"batch_{batch}", arm) for arm in ("raw", "normal", "inverted"))
    at = f"at batches of {batch:,}"
    return [
        scores_more(f"Scaling helps ({at} for both).", scaled, raw, f"scaled minus raw {at}"),
        scores_more(f"Inverting hurts ({at} for both).", scaled, inverted, f"scaled minus inverted {at}"),
    ]


SMALL, LARGE = (Cell(f"batch_{batch}", "normal") for batch in BATCHES)

EXPERIMENT = Experiment(
    name="cookbook",
    question="Do scaling and inverting change what a wide network learns from MNIST, or do batch size and epochs?",
    source="https://www.packtpub.com/product/neural-networks-with-keras-cookbook/9781789346640, Ayyadevara 2019,"
    " chapter 2",
    settings='784-1000-10 with ReLU, Adam, on MNIST: raw, scaled to 0 to 1, and inverted, so that "the majority of'
    ' inputs are greater than zero". The recipes for the three differ in batch size and epochs as well.',
    open_settings="Which images went with which batch size could not be checked, so every kind of image is trained at "
    "two batch sizes, 32 and 1,024. Weights are Keras's.",
    shortened="Shortened to half an epoch at batches of 32 and two at 1,024, in place of 500.",
    cost="about 12 hours on 2 cores, and a few minutes on an H200",
    studies=studies,
    statements=[
        *(statement for batch in BATCHES for statement in statements(batch)),
        scores_more(
            "Batch size and epochs alone make a difference between equal images.",
            *(SMALL, LARGE, "scaled at batches of 32 minus scaled at 1,024"),
            decides=False,
        ),
    ],
)
