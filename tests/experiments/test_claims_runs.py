"""Claims judged by trainings on a little of MNIST: verdicts follow the data, folders are resumed, requests refused."""

import json
from typing import Any

import numpy as np
import pytest

from jaxinv.data import Dataset, load_dataset
from jaxinv.errors import InputError
from jaxinv.experiments import claims
from jaxinv.experiments.claims import rates, studies
from jaxinv.experiments.claims.study_cache import StudyCache, stored_trials


def little(x_train: np.ndarray | None = None, y_train: np.ndarray | None = None) -> Dataset:
    """2,000 + 1,000 images of MNIST, or of what was made of the training images."""
    full = load_dataset("mnist")
    return Dataset(
        x_train=full.x_train[:2000] if x_train is None else x_train,
        y_train=full.y_train[:2000] if y_train is None else y_train,
        x_test=full.x_test[:1000],
        y_test=full.y_test[:1000],
        classes=10,
        name="little",
    )


@pytest.fixture
def few(monkeypatch):
    """Few trials, and short chains."""
    study = StudyCache.study

    def short(self: StudyCache, **fields: Any) -> Any:
        brief = {"steps": 300, "eval_every": 50} if fields.get("steps", 0) > 300 else {}
        return study(self, **fields | brief)

    monkeypatch.setattr(StudyCache, "trials", lambda self, quick, full: 6 if self.quick else 8)
    monkeypatch.setattr(StudyCache, "study", short)


def relabelled() -> Dataset:
    """Labels that have nothing to do with the images."""
    return little(y_train=np.random.default_rng(0).permutation(little().y_train))


def negative() -> Dataset:
    """The negative of every image: what was inverted is normal now."""
    data = little()
    return Dataset(
        x_train=255 - data.x_train, y_train=data.y_train, x_test=255 - data.x_test, y_test=data.y_test, name="negative"
    )


def scattered() -> Dataset:
    """The pixels of every image in one and the same random order."""
    data, order = little(), np.random.default_rng(1).permutation(784)
    train, test = (x.reshape(len(x), -1)[:, order].reshape(x.shape) for x in (data.x_train, data.x_test))
    return Dataset(x_train=train, y_train=data.y_train, x_test=test, y_test=data.y_test, name="scattered")


REAL = ["inverting-lowers-accuracy", "zero-pixels-never-move", "training-finds-others", "border-explains-it"]


@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (little, ["supported", "supported", "supported", "refuted"]),
        (relabelled, ["refuted or inconclusive", "supported", "supported", "premise absent"]),
        (negative, ["refuted", "premise absent", "supported", "premise absent"]),
        (scattered, ["supported", "refuted", "supported", "refuted or inconclusive"]),
    ],
)
def test_verdicts_follow_the_data(make, wanted):
    result = claims.run_claims(REAL, dataset=make(), progress=False)
    for claim, allowed in zip(result["claims"], wanted, strict=True):
        assert claim["verdict"] in allowed, claims.table(result)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_same_functions_by_formula():
    found = claims.CLAIMS["same-functions"].judge(StudyCache(little()))
    assert found.verdict == "supported"
    assert found.effect < 1e-10


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_folder_is_resumed_grown_and_told_apart(tmp_path, monkeypatch):
    names = ["border-explains-it", "channel-mean-helps", "channel-mean-helps"]
    monkeypatch.setattr(StudyCache, "bound", lambda self, arm: 0.3)
    monkeypatch.setattr(studies, "RATES", (0.25, 0.5))
    monkeypatch.setattr(rates, "RATES", (0.25, 0.5))
    out = tmp_path / "runs"
    first = claims.run_claims(names, quick=True, out=out, dataset=little(), progress=False)
    assert [claim["name"] for claim in first["claims"]] == names[:2]
    assert json.loads((out / "claims.json").read_text()) == first
    assert {path.name for path in out.iterdir()} == {"dark_border", "rates", "claims.json", "learning_rate.png"}
    assert stored_trials(out / "dark_border") == 6
    again = claims.run_claims(names, quick=True, out=out, dataset=little(), progress=False)
    assert again["claims"] == first["claims"]
    full = claims.run_claims(names, out=out, dataset=little(), progress=False)
    assert stored_trials(out / "dark_border") == 8
    assert (first["claims"][1]["n"], full["claims"][1]["n"]) == (3, 4)
    done = next((out / "dark_border" / "results.zarr" / "done").rglob("c*"))
    done.write_bytes(b"damaged")
    kept = claims.run_claims(names, quick=True, out=out, dataset=little(), progress=False)
    assert kept["claims"] == full["claims"]
    options: dict[str, Any] = {"out": out, "dataset": little(), "progress": False}
    changes: list[dict[str, Any]] = [{"dataset": negative()}, {"seed": 5}]
    for changed in changes:
        with pytest.raises(InputError, match=r"out: .*holds trials with (dataset|seed)"):
            claims.run_claims(names, **options | changed)


def test_requests_that_make_no_sense(tmp_path):
    with pytest.raises(
        InputError, match=r"claims: 'centering-removes-it' is not known; did you mean 'centring-removes-it'"
    ):
        claims.run_claims(["centering-removes-it"])
    with pytest.raises(InputError, match="dataset: 'minst' is not known"):
        claims.run_claims(["same-functions"], dataset="minst")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out: .* holds something else"):
        claims.run_claims(["same-functions"], out=tmp_path)
    with pytest.raises(InputError, match=r"out: .*thesis.txt is not a folder"):
        claims.run_claims(["same-functions"], out=tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_table_fits_a_terminal_and_json_is_json():
    judged = claims.Judgement(
        verdict="inconclusive",
        effect=float("nan"),
        ci95=(-1.2345678e-10, float("inf")),
        n=100_000,
        unit="points",
        explanation="It " + "really " * 30 + "is.",
        diverged=3,
    )
    listed = [claim.to_dict(judged) for claim in claims.CLAIMS.values()]
    result = {"claims": listed, "dataset": "mnist", "quick": True, "seed": 0, "out": None, "seconds": 12.3}
    text = claims.table(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "inconclusive" in text
    assert "3 of the trainings diverged; they are included" in text
    assert json.loads(json.dumps(result, allow_nan=False))["claims"][0]["effect"] is None
    assert all(
        set(claim) >= {"name", "source", "statement", "verdict", "effect", "ci95", "n", "explanation"}
        for claim in listed
    )


@pytest.mark.slow
def test_claims_without_a_study_can_be_asked_again(tmp_path):
    for _ in range(2):
        claims.run_claims(["same-functions"], quick=True, out=tmp_path / "runs", dataset=little(), progress=False)
    (tmp_path / "locked").write_text("a file")
    with pytest.raises(InputError, match=r"out: .*not a folder"):
        claims.run_claims(["same-functions"], quick=True, out=tmp_path / "locked", dataset=little(), progress=False)
