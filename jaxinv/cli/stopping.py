"""What happens when Ctrl-C or SIGTERM stops a run."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

SWALLOWERS = {"_xla_gc_callback", "__del__"}
"""Names of functions whose exceptions Python prints and drops."""


class Interrupted(Exception):
    """A run was stopped from outside; `folder` is where it can be resumed, if anywhere."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        if not folder:
            kept = "nothing was stored"
        elif "://" in folder or os.path.isdir(os.path.expanduser(folder)):
            kept = f"finished trials are safe in {folder}; the same command goes on from there"
        else:
            kept = f"there is no folder {folder}; if it was renamed or moved, put it back, and the same command goes on"
        super().__init__(f"interrupted: {kept}")


@contextlib.contextmanager
def resumable(folder: str | None) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Interrupted`."""

    def stop(number: int, frame: Any) -> None:
        while frame is not None:  # Python would drop an exception inside these; try again soon
            if frame.f_code.co_name in SWALLOWERS:
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(folder) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
