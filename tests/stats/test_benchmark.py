"""The benchmark of the statistics runs, and says what it should. No times are judged here."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # when pytest is started by its own name
    sys.path.insert(0, str(ROOT))

from benchmarks import statistics  # noqa: E402


def test_the_tiny_benchmark_prints_one_json_object(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["statistics.py", "--tiny", "--json"])
    statistics.main()
    parts = json.loads(capsys.readouterr().out)["parts"]
    bootstrap, million, rates = parts["bootstrap"], parts["million"], parts["rates"]
    assert [len(one["samples_s"]) for one in bootstrap["contenders"]] == [2, 2, 2, 2]
    assert len(bootstrap["ratios"]) == 3
    assert million["trials"] == 5000
    assert 0.01 < million["peak_gib"] < 4
    assert rates["simulations"] == 20
    assert all(0 <= rate["value"] <= 1 for rate in rates["rates"])
    assert len({rate["what"] for rate in rates["rates"]}) == len(rates["rates"]) == 17


def test_a_rate_outside_what_is_allowed_shows():
    rates = [statistics.Rate(what=f"rate {value}", value=value, allowed=(0.04, 0.06)) for value in (0.05, 0.07)]
    console = statistics.Console(width=90, record=True, file=io.StringIO())
    statistics.Rates(100, rates).show(console)
    rows = [line for line in console.export_text().splitlines() if "rate 0" in line]
    assert ["yes" in row for row in rows] == [True, False]
    assert [rate.to_dict()["held"] for rate in rates] == [True, False]


def test_intervals_that_disagree_stop_it():
    one, other = (statistics.Contender(name, name, lambda: lambda: np.zeros(2)) for name in ("ours", "theirs"))
    one.result, other.result = np.array([0.0, 1.0]), np.array([0.0, 1.05])
    statistics.check_intervals([one, other], 0.1)
    with pytest.raises(statistics.Disagreement, match=r"theirs's interval is off by 0\.050"):
        statistics.check_intervals([one, other], 0.02)
