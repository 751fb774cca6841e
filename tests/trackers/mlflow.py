"""Of MLflow, what the README uses."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

LOGGED: list[tuple[int, dict[str, float]]] = []  # (trials, accuracies by arm)
CONFIG: dict[str, Any] = {}
_active: list[str] = []


@contextlib.contextmanager
def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: dict[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> Iterator[None]:
    _active.append("run")
    yield
    _active.pop()


def log_metrics(
    metrics: dict[str, float],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
) -> None:
    assert _active
    assert isinstance(step, int)
    assert all(re.fullmatch(r"[/\w.\- ]+", name) for name in metrics), "names that MLflow refuses"
    LOGGED.append((step, {name.removeprefix("accuracy/"): value for name, value in metrics.items()}))


def log_dict(dictionary: dict[str, Any], artifact_file: str, run_id: str | None = None) -> None:
    assert _active
    assert artifact_file.endswith(".json")
    CONFIG.update(json.loads(json.dumps(dictionary)))
