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

from benchmarks import sequential, statistics  # noqa: E402


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


@pytest.mark.slow
def test_the_benchmark_of_looking_any_time_prints_one_json_object(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sequential.py", "--tiny", "--json"])
    sequential.main()
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert set(parts) == {"coverage", "widths", "stopping", "tiny", "speed"}
    missed = parts["coverage"]["rows"]
    assert len(missed) == len(sequential.KINDS)
    assert missed["normal"]["fixed, every"] > 0.1 > missed["normal"]["asymptotic"]
    assert missed["constant"]["asymptotic"] == missed["constant"]["exact"] == 0.0
    assert missed["normal"]["exact"] is None
    widths = parts["widths"]["rows"]
    assert widths["asymptotic"]["1,000"] == pytest.approx(widths["the same, sd known"]["1,000"], rel=0.02)
    assert widths["exact, sd 0.0085, bets to 0.5"]["500"] > widths["exact, sd 0.0085, bets to 0.9"]["500"] > 10
    stopping = parts["stopping"]["rows"]
    assert stopping["normal, != 0, effect 0.2"]["fixed, power 80%"] == 199
    assert 300 < stopping["normal, != 0, effect 0.2"]["stopping, mean"] < 500
    assert stopping["constant, within 10 steps"]["stopping, mean"] == 60
    few = parts["tiny"]["rows"]
    assert few["10 images, with grain"]["2 trials"] < 0.02 < few["10 images, without grain"]["2 trials"]
    assert parts["speed"]["trials"] == 5000


def test_a_look_that_misses_is_seen():
    x = np.full((2, 200), 0.5)
    x[1] = np.resize([-1.0, 1.0], 200)
    x[1, :6] = [1.0, 1.1, 0.9, 1.0, 1.1, 0.9]  # misses after the sixth trial, not after the tenth
    x[1, 6:10] = -1.0
    kind = sequential.Kind(lambda rng, shape: x, 0.1, (-5, 5))
    assert [hits.tolist() for hits in sequential.missing(x, kind)] == [
        [True, False],
        [True, False],
        [True, True],
        [True, False],
        [True, False],
    ]
