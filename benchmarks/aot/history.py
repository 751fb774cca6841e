"""What compilers have said before: kernels, bytes and memory of a program may not grow."""

import json
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parents[1] / "history" / "accelerators.jsonl"
GROWTH = 1.02  # of what the last record says; compilers of other versions are not compared

Record = dict[str, Any]


def key(record: Record) -> tuple[Any, ...]:
    """What makes two records comparable: the same program and the same compiler."""
    return tuple(record[name] for name in ("card", "model", "trials", "precision", "devices", "jaxlib"))


def load(path: Path = HISTORY) -> list[Record]:
    """All records, oldest first; none where there is no file yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def append(records: list[Record], path: Path = HISTORY) -> None:
    """Add records to the history."""
    with path.open("a") as file:
        file.writelines(json.dumps(record, sort_keys=True) + "\n" for record in records)


def compare(record: Record, past: list[Record]) -> list[str]:
    """A line for each figure that has grown since the last record of the same program."""
    before = [old for old in past if key(old) == key(record)]
    if not before:
        return []
    complaints = []
    for name, (now, then) in _pairs(record["figures"], before[-1]["figures"]).items():
        if now > then * GROWTH:
            complaints.append(f"{' '.join(map(str, key(record)[:4]))}: {name} {now:,.0f}, before {then:,.0f}")
    return complaints


def _pairs(now: dict[str, Any], then: dict[str, Any]) -> dict[str, tuple[float, float]]:
    found = {}
    for part in ("update", "evaluation"):
        moved = [each[part]["written"] + each[part]["read"] for each in (now, then)]
        found[f"bytes of an {part}"] = (moved[0], moved[1])
        found[f"kernels of an {part}"] = (now[part]["kernels"], then[part]["kernels"])
    found["bytes of temporary memory"] = (now["memory"]["temporary"], then["memory"]["temporary"])
    return found
