"""Doubts about what data mean: logged, and remembered with what was decoded, so that they are said each time."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

LOG = logging.getLogger(__name__)
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def doubt(message: str, *values: object) -> None:
    """Log how data are read that can be read in two ways."""
    text = message % values
    LOG.warning("%s", text)
    heard = _heard.get()
    if heard is not None:
        heard.append(text)


@contextlib.contextmanager
def hearing() -> Iterator[list[str]]:
    """A list of all doubts of the block."""
    token = _heard.set(heard := [])
    try:
        yield heard
    finally:
        _heard.reset(token)


def repeat(doubts: Iterable[str]) -> None:
    """Log them again."""
    for text in doubts:
        LOG.warning("%s", text)
