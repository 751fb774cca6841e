"""How the processes of one distributed run agree on what is missing: process 0 looks and tells the others."""

import json
import time
from typing import NamedTuple

from jaxinv.errors import DataError
from jaxinv.store.files import Files
from jaxinv.store.lock import PLAN

POLL_SECONDS = 0.05


class Plan(NamedTuple):
    """What process 0 found: its launch, the store-block length, the finished trials of each block, the attributes."""

    token: str
    block: int
    filled: list[int]
    attrs: dict[str, str]


def publish(files: Files, plan: Plan) -> None:
    """Let the other processes of this launch begin."""
    files.write(PLAN, json.dumps(plan).encode())


def find(files: Files, token: str) -> Plan | None:
    """The plan of this launch, if it is there; those of others are none."""
    data = files.read(PLAN)
    plan = Plan(*json.loads(data)) if data else None
    return plan if plan is not None and plan.token == token else None


def wait(files: Files, token: str, timeout: float) -> Plan:
    """The plan of this launch, once process 0 has written it."""
    end = time.monotonic() + timeout
    while (plan := find(files, token)) is None:
        if time.monotonic() > end:
            raise DataError(
                f"out: process 0 did not open {str(files)!r} within {timeout:g} s; run the same command again"
            )
        time.sleep(POLL_SECONDS)
    return plan
