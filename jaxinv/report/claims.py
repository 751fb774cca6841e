"""Claims and verdicts as a page shows them, from what `claims.json` says of them."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from jaxinv.report.tables import LEVEL, Table
from jaxinv.utils.text import interval, number

FIELDS = {"name", "source", "statement", "verdict", "effect", "ci95", "n", "explanation"}
"""What every claim must have; `rule`, `unit` and `diverged` are shown where they are there."""

VERDICTS = {"supported": "✔", "refuted": "✘", "inconclusive": "?"}


def shown(claim: Mapping[str, Any]) -> dict[str, Any]:
    """A claim's figures as text."""
    verdict, bounds, diverged = str(claim["verdict"]), claim["ci95"], claim.get("diverged")
    both = isinstance(bounds, list | tuple) and len(bounds) == 2 and all(isinstance(v, int | float) for v in bounds)
    link, source = _link(str(claim["source"]))
    return {
        "name": str(claim["name"]),
        "link": link,
        "source": source,
        "statement": str(claim["statement"]),
        "verdict": verdict,
        "kind": verdict if verdict in VERDICTS else "inconclusive",
        "sign": VERDICTS.get(verdict, "?"),
        "effect": _figure(claim["effect"], ".3g"),
        "ci95": interval((bounds[0], bounds[1]), ".3g") if both else "n/a",
        "n": _figure(claim["n"], ","),
        "unit": str(claim.get("unit") or ""),
        "rule": str(claim.get("rule") or ""),
        "diverged": _figure(diverged, ",") if diverged else "",
        "explanation": str(claim["explanation"]),
    }


def counts(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many claims came out which way.

    >>> counts([{"verdict": "supported"}, {"verdict": "refuted"}])
    'Of 2 claims, 1 came out supported, 1 refuted and 0 inconclusive.'
    """
    found = [sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS]
    return f"Of {len(claims)} claims, {found[0]} came out supported, {found[1]} refuted and {found[2]} inconclusive."


def lede(about: Mapping[str, Any]) -> str:
    """What they were tested on."""
    where = f" on {about['dataset']}" if "dataset" in about else ""
    how = {True: ", with few trials (--quick)", False: ", in full"}.get(about.get("quick", ""), "")
    seed = f"; seed {about['seed']}" if "seed" in about else ""
    return f"Claims about how inputs are presented, each put to the test by a study of its own{where}{how}{seed}."


def command(claims: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """The command that judges these claims again."""
    words = ["jaxinv", "claims", *(str(claim["name"]) for claim in claims)]
    words += ["--quick"] if about.get("quick") else []
    for name in ("dataset", "seed"):
        words += [f"--{name}", str(about[name])] if name in about else []
    return shlex.join(words)


def overview(claims: Sequence[Mapping[str, Any]]) -> Table:
    """All verdicts at a glance, from claims as `shown` has them."""
    head = ["claim", "verdict", f"effect\n{LEVEL}", "n"]
    rows = [
        [claim["name"], f"{claim['sign']} {claim['verdict']}", f"{claim['effect']}\n{claim['ci95']}", claim["n"]]
        for claim in claims
    ]
    return Table("Verdicts", head, rows, 2)


def _link(source: str) -> tuple[str, str]:
    """An address that a source begins with, and the rest."""
    if not source.startswith("https://"):
        return "", source
    address = source.split()[0].rstrip(",;")
    return address, source[len(address) :]


def _figure(value: Any, form: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "n/a" if value is None else str(value)
    return number(value, form)
