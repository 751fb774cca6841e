"""Of tensorboardX, what the README uses."""

from typing import Any

LOGGED: list[tuple[int, dict[str, float]]] = []  # (trials, accuracies by arm)


class SummaryWriter:
    def __init__(
        self, logdir: str | None = None, comment: str = "", purge_step: int | None = None, max_queue: int = 10
    ) -> None:
        self.open = True

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        assert self.open
        assert isinstance(global_step, int)
        if not LOGGED or LOGGED[-1][0] != global_step:
            LOGGED.append((global_step, {}))
        LOGGED[-1][1][tag.removeprefix("accuracy/")] = scalar_value
