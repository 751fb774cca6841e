"""`jaxinv report DIR`: the pages of replications and of judged claims, from what their folders hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from jaxinv.errors import DataError, InputError
from jaxinv.experiments.claims.page import conclusion
from jaxinv.experiments.replication_page import read_as, replication_page
from jaxinv.experiments.reports import write_report
from jaxinv.report.rendering import render_markdown
from jaxinv.report.study import StoredStudy
from jaxinv.study import Study
from tests.builders import store_results, study_results
from tests.report.test_report import Reader, column

PUBLISHED = {"normal": 0.91879, "inverted": 0.837478}


def replicated(folder: Path) -> dict[str, xr.Dataset]:
    """A folder as `jaxinv replicate` leaves it."""
    studies = {"as_written": Study(steps=200, eval_every=50, trials=6), "independent": Study(trials=12)}
    made = {name: study_results(study, seed=place) for place, (name, study) in enumerate(studies.items())}
    for name, study in studies.items():
        store_results(folder / name, study, made[name])
    seconds = {"compile": 1.0, "train": 2.0, "total": 3.5}
    (folder / "summary.json").write_text(json.dumps({"published": PUBLISHED, "seconds": seconds}))
    return made


def replication(made: dict[str, xr.Dataset], published: dict[str, float]) -> str:
    """The page of both readings as Markdown."""
    studies = read_as([StoredStudy(results=results, name=name) for name, results in made.items()], published)
    return render_markdown(replication_page(studies, published=published, seconds={}, csv=""))


@pytest.mark.slow
def test_both_readings_stand_on_the_page_with_why_they_differ(tmp_path):
    made = replicated(tmp_path)
    page = Reader(write_report(tmp_path).read_text())
    assert "With inverted inputs accuracy is lower than with normal ones under both readings" in page.text
    assert "differ because the published script initialises the network once" in page.text
    readings, written = page.tables[:2]
    assert readings[0] == ["arm", "published", "as written\nn = 6", "independent\nn = 12"]
    for row, (arm, published) in enumerate(PUBLISHED.items()):
        chains = made["as_written"].accuracy.sel(arm=arm)[0].values.astype(np.float64).mean(axis=-1)
        fresh = made["independent"].accuracy.sel(arm=arm)[0, :, -1].values.astype(np.float64)
        assert readings[row + 1][1] == str(published)
        assert readings[row + 1][2].startswith(f"{chains.mean():.5f}\n")
        assert readings[row + 1][3].startswith(f"{fresh.mean():.5f}\n")
        z = (published - chains.mean()) / chains.std(ddof=1)
        assert column(written, "z")[row].replace("−", "-") == f"{z:+.2f}"
        assert f"against the published {published} (z = {z:+.2f})" in page.text.replace("−", "-")
    assert "jaxinv replicate --chains 6 --trials 12 --seed 0" in page.text
    assert "compile 1.0 s, train 2.0 s, total 3.5 s" in page.text


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: a[::-1], "With normal inputs accuracy is lower than with inverted ones under both readings"),
        (lambda a: np.full_like(a, 0.5), "Neither reading of the published text shows a difference"),
    ],
)
def test_the_verdict_follows_the_results(tmp_path, spoil, words):
    made = replicated(tmp_path)
    for results in made.values():
        results["accuracy"].values[:] = spoil(results.accuracy.values.copy())
    assert words in replication(made, PUBLISHED)


@pytest.mark.parametrize(
    ("away", "words"),
    [
        ((0.5, -1.5), "Both published figures lie within the spread of these chains: they replicate."),
        ((0.5, 3.0), "The published figure for inverted lies outside the spread of these chains."),
        ((-2.5, 0.5), "The published figure for normal lies outside"),
    ],
)
def test_replication_is_judged_by_the_spread_of_chains(away, words):
    results = study_results(Study(steps=100, eval_every=50, trials=10))
    chains = results.accuracy.values[:, 0].astype(np.float64).mean(axis=-1)
    figures = chains.mean(axis=1) + np.array(away) * chains.std(axis=1, ddof=1)
    published = dict(zip(PUBLISHED, figures.tolist(), strict=True))
    assert words in replication({"as_written": results, "independent": study_results(Study(trials=6))}, published)


@pytest.mark.parametrize("chains", [2, 5])
def test_too_few_chains_do_not_replicate(chains):
    results = study_results(Study(steps=100, eval_every=50, trials=chains))
    means = results.accuracy.values[:, 0].astype(np.float64).mean(axis=(1, 2))
    published = dict(zip(PUBLISHED, means.tolist(), strict=True))
    page = replication({"as_written": results, "independent": study_results(Study(trials=12))}, published)
    assert f"{chains} chains are too few to speak; 6 or more are needed." in page
    assert "they replicate" not in page
    assert "(z = " not in page
    assert "Whether the two readings of the published text agree is open" in page
    page = replication({"as_written": results.isel(trial=[0]), "independent": results}, published)
    assert "1 chain is too few to speak" in page


@pytest.mark.slow
def test_markdown_shows_figures_that_are_there(tmp_path):
    replicated(tmp_path)
    write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    shown = [part.split(")")[0] for part in text.split("](")[1:]]
    assert "report_files/as_written-curve.png" in shown
    assert all((tmp_path / name).is_file() for name in shown)
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 6
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1


def test_claims_stand_first(tmp_path):
    claims = [
        {
            "name": f"claim_{k}",
            "source": "https://jaxinv.test/q/1, an answer",
            "statement": f"Statement {k}.",
            "verdict": verdict,
            "n": 1000,
        }
        | {"effect": effect, "ci95": None if effect is None else [effect - 1, effect + 1], "explanation": "Because."}
        for k, (verdict, effect) in enumerate([("supported", 0.5), ("refuted", -0.25), ("inconclusive", None)])
    ]
    about = {"claims": claims, "quick": True, "dataset": "mnist", "seed": 3, "seconds": 1.0}
    (tmp_path / "claims.json").write_text(json.dumps(about))
    page = Reader(write_report(tmp_path).read_text())
    assert "Of 3 claims, 1 came out supported, 1 refuted and 1 inconclusive." in page.text
    assert column(page.tables[0], "verdict") == ["✔ supported", "✘ refuted", "? inconclusive"]
    assert "jaxinv claims claim_0 claim_1 claim_2 --quick --dataset mnist --seed 3" in page.text
    assert "total 1.0 s" in page.text
    links = [link["href"] for link in page.all("a") if link.get("class") != "permalink"]
    assert links[-1] == "https://jaxinv.test/q/1"
    assert [tag["class"] for tag in page.all("article")] == ["judged positive", "judged negative", "judged neutral"]
    assert "[−1.25, 0.75]" in page.text
    assert not (tmp_path / "report.csv").exists()
    claims[0] |= {"name": "inverting-lowers-accuracy"}
    claims[1] |= {
        "name": "border-explains-it",
        "causes": [
            {"change": "darkening", "network": "MLP", "share": 0.1, "ci95": [0.05, 0.2], "n": 6},
            {"change": "centring", "network": "MLP", "share": 0.98, "ci95": [0.9, 1.02], "n": 6},
            {"change": "waiting", "network": "MLP", "share": None, "ci95": [None, None], "n": 2},
        ],
    }
    (tmp_path / "claims.json").write_text(json.dumps(about))
    page = Reader(write_report(tmp_path).read_text())
    assert (
        "Inverting costs 50.0 points of accuracy. Centring brings back 98% of such a loss and darkening 10%."
        in page.text
    )
    assert column(page.tables[0], "n") == ["6", "6"]
    assert column(page.tables[1], "claim")[:2] == ["Inverting lowers accuracy", "The border explains the loss"]
    ids = {tag["id"] for tag in page.all("article")}
    told = {"inconclusive": "is not shown to cost", "refuted": "does not cost"}
    for verdict, how in told.items():
        unsure = [claims[0] | {"verdict": verdict, "unit": "accuracy"}]
        assert conclusion(unsure) == f"Inverting {how} accuracy: 0.5 [−0.5, 1.5] (accuracy)."
    leads = [
        link["href"] for link in page.all("a") if str(link["href"])[1:] in ids and link.get("class") != "permalink"
    ]
    assert leads == ["#border-explains-it"] * 2 + ["#inverting-lowers-accuracy", "#border-explains-it", "#claim_2"]
    del claims[1]["effect"]
    (tmp_path / "claims.json").write_text(json.dumps({"claims": claims}))
    with pytest.raises(DataError, match="claims: number 2 has no effect"):
        write_report(tmp_path)


def test_claims_show_accuracy_against_learning_rate_of_their_studies(tmp_path):
    studies = {"few": Study(learning_rate=(0.1, 0.5), trials=3), "many": Study(learning_rate=(0.1, 0.2, 0.5), trials=3)}
    for name, study in (studies | {"one": Study(trials=3)}).items():
        store_results(tmp_path / name, study, study_results(study))
    claim = {"name": "c", "source": "s", "statement": "S.", "verdict": "supported", "effect": 1.0, "ci95": [0.5, 1.5]}
    claim |= {"n": 3, "explanation": "E.", "rule": "By this rule.", "unit": "points", "diverged": 2}
    (tmp_path / "claims.json").write_text(json.dumps({"claims": [claim]}))
    page = Reader(write_report(tmp_path).read_text())
    alts = [str(figure["alt"]) for figure in page.all("img")]
    assert ["0.1 to 0.5" in alt for alt in alts] == [True, True]  # the wider grid first; no other figures
    assert not any("curvature bound" in alt for alt in alts)  # the dataset of these results is not at hand
    assert len(page.all("details")) == 1 + 3
    for words in ("By this rule.", "(points)", "2 trainings, included"):
        assert words in page.text
    shown = [part.split(")")[0] for part in (tmp_path / "report.md").read_text().split("](")[1:]]
    assert all((tmp_path / name).is_file() for name in shown)
    assert len(shown) == 3


def test_claims_come_out_escaped(tmp_path):
    evil: dict[str, Any] = {"name": "<i>", "source": "<b>", "statement": "<script>alert(1)</script>", "verdict": "<u>"}
    evil |= {"effect": 1.0, "ci95": [0.5, 1.5], "n": 3, "explanation": "<img src=x onerror=alert(1)>"}
    evil |= {"rule": "<script>", "criteria": [{"comparison": "<script>"}, "<b>", {}], "unit": "<i>"}
    (tmp_path / "claims.json").write_text(json.dumps({"claims": [evil]}))
    reader = Reader(write_report(tmp_path).read_text())
    assert reader.all("script") == [{}]  # the page's own
    assert not reader.all("i") + reader.all("b") + reader.all("u") + reader.all("img")
    assert "<script>alert(1)</script>" in reader.text
    assert "<" not in (tmp_path / "report.md").read_text().split("-->", 1)[1].split("```")[0]


def test_what_makes_no_sense_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no results; give the folder of a run"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        write_report(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    for text in ("{", "[]", '{"published": 3}'):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(DataError, match=r"summary\.json"):
            write_report(tmp_path)
