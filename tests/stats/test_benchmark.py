"""The benchmark of the statistics runs, and says what it should. No times are judged here."""

import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # when pytest is started by its own name
    sys.path.insert(0, str(ROOT))

from benchmarks import statistics  # noqa: E402


@pytest.mark.slow
def test_the_tiny_benchmark_prints_one_json_object(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["statistics.py", "--tiny", "--json"])
    statistics.main()
    parts = json.loads(capsys.readouterr().out)["parts"]
    million, rates = parts["million"], parts["rates"]
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
