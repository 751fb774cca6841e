"""Of Weights & Biases, what the README uses."""

from typing import Any

LOGGED: list[tuple[int, dict[str, float]]] = []  # (trials, accuracies by arm)
CONFIG: dict[str, Any] = {}


class Run:
    def __init__(self) -> None:
        self.step_metrics: dict[str, str | None] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.step_metrics.clear()

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> None:
        self.step_metrics[name] = step_metric

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        assert self.step_metrics == {"accuracy/*": "trials"}
        LOGGED.append((data.pop("trials"), {name.removeprefix("accuracy/"): value for name, value in data.items()}))


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: list[str] | None = None,
    config: dict[str, Any] | str | None = None,
) -> Run:
    assert isinstance(config, dict)
    CONFIG.update(config)
    return Run()
