"""The benchmark of the arms runs, and its peers do the same work."""

import json
import sys

import pytest

from benchmarks import arms, harness, ours


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["arms.py", "--tiny", *flags])
        arms.main()
        return capsys.readouterr().out

    monkeypatch.setattr(ours, "configure", lambda: None)  # too late in this process
    monkeypatch.setattr(harness.gc, "collect", lambda: 0)  # of all that other tests have left, before each sample
    monkeypatch.setenv("COLUMNS", "100")
    return run


@pytest.mark.slow
def test_json_is_one_object(run):
    found = json.loads(run("--json", "--arms", "pixel_zscore", "lcn", "histogram"))
    assert [row["name"] for row in found["arms"]] == ["pixel_zscore", "lcn", "histogram"]
    assert all(row["difference"] < 1e-5 and len(row["peer_s"]) == len(row["fit_s"]) == 2 for row in found["arms"])
    assert found["images"] == 500
    assert "cores" in found["machine"]


@pytest.mark.slow
def test_table(run):
    out = run("--arms", "inverted+pixel_mean", "--no-peers")
    assert "inverted+pixel_mean" in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.slow
def test_a_peer_that_does_other_work_is_noticed(run, monkeypatch):
    monkeypatch.setitem(arms.PEERS, "pixel_mean", lambda train, images: images / 255.0)
    with pytest.raises(SystemExit, match="pixel_mean and its peer differ by"):
        run("--arms", "pixel_mean")
