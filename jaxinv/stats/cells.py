"""One arm at one learning rate in a few figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxinv.errors import unknown
from jaxinv.results import Cell
from jaxinv.stats.descriptive import Summary, summary


@dataclass(frozen=True, kw_only=True)
class CellSummary:
    """The figures of a `jaxinv.results.Cell`: of its `trials` finished trials, `diverged` diverged.

    `learning_rate` is the cell's place on the axis, `rate` the learning rate that was used.
    Diverged trials enter a metric's figures wherever they have a finite value; `Summary.n` counts what entered.
    """

    arm: str
    learning_rate: float
    rate: float
    step: int
    trials: int
    diverged: int
    metrics: Mapping[str, Summary]

    def metric(self, name: str) -> Summary:
        """A metric's figures over trials."""
        if name not in self.metrics:
            raise unknown("metric", name, self.metrics)
        return self.metrics[name]

    @property
    def accuracy(self) -> Summary:
        """Test accuracy over trials."""
        return self.metric("accuracy")

    @property
    def test_loss(self) -> Summary:
        """Test loss over trials."""
        return self.metric("test_loss")


def cell_summary(cell: Cell) -> CellSummary:
    """Every metric of a cell over its trials: mean, standard deviation, 95% interval, median, interquartile mean."""
    return CellSummary(
        arm=cell.arm,
        learning_rate=cell.learning_rate,
        rate=cell.rate,
        step=cell.step,
        trials=cell.trials.size,
        diverged=int(cell.diverged.sum()),
        metrics={name: summary(values, grain=cell.grains.get(name, 0.0)) for name, values in cell.metrics.items()},
    )
