"""The benchmark of the statistics runs, and says what it should. No times are judged here."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*flags: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "statistics.py"), "--tiny", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tiny_benchmark_prints_one_json_object():
    parts = json.loads(run("--json"))["parts"]
    bootstrap, million, rates = parts["bootstrap"], parts["million"], parts["rates"]
    assert [len(one["samples_s"]) for one in bootstrap["contenders"]] == [2, 2, 2, 2]
    assert len(bootstrap["ratios"]) == 3
    assert million["trials"] == 5000
    assert 0.01 < million["peak_gib"] < 4
    assert rates["simulations"] == 20
    assert all(0 <= rate["value"] <= 1 for rate in rates["rates"])
    assert len({rate["what"] for rate in rates["rates"]}) == len(rates["rates"]) == 17


def test_its_tables_show_every_part():
    shown = run("--parts", "million", "rates")
    assert "5,000 trials" in shown
    assert "peak GiB" in shown
    assert "equivalence, n = 100, on its margin: claimed" in shown
