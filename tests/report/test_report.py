"""Reports: their figures are those of `jaxinv.stats`, their words follow the results, nothing gets in or is lost."""

import csv
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxinv import cli, stats
from jaxinv.arm import Arm
from jaxinv.data import Dataset
from jaxinv.errors import DataError, InputError
from jaxinv.plots.style import new_figure
from jaxinv.report import sections, terminal
from jaxinv.report.folder import read_studies
from jaxinv.report.pages import study_page
from jaxinv.report.rendering import render_html, render_markdown
from jaxinv.report.sections import Page, Section
from jaxinv.report.study import StoredStudy
from jaxinv.report.writing import COLUMNS, values_csv, write_page
from jaxinv.study import Study
from jaxinv.training.weight_change import border_mask, summarise
from tests.builders import HOSTILE_ARMS, lifelike_results, store_results, study_results

NOTHING_SHOWN = "No difference between normal and inverted was shown"


class Reader(HTMLParser):
    """Tables, figures, links and plain text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        self.text += data
        if self._cell:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def column(table: list[list[str]], head: str) -> list[str]:
    return [row[table[0].index(head)] for row in table[1:]]


def render(studies: Any, **options: Any) -> str:
    """The page of stored studies as HTML."""
    return render_html(study_page(studies, **options))


def render_text(studies: Any, **options: Any) -> str:
    """The page of stored studies as Markdown."""
    return render_markdown(study_page(studies, **options))


def write(folder: Path) -> Path:
    """The page of a stored run, written beside it."""
    studies = read_studies(folder)
    return write_page(folder, study_page(studies, csv="report.csv"), studies)


@pytest.mark.slow
def test_figures_of_the_tables_are_those_of_stats():
    results = study_results(Study(arms=("normal", "inverted", "pixel_mean"), trials=20))
    arms, pairs = Reader(render(results)).tables[:2]
    for row, arm in enumerate(results.arm.values):
        values = results.accuracy.sel(arm=arm).values.ravel().astype(np.float64)
        s = stats.summary(values)
        low, high = s.ci95
        mean, interval = column(arms, "mean accuracy\n95% interval")[row].split("\n")
        assert mean == f"{values.mean():.4f}" == f"{s.mean:.4f}"
        assert interval == f"[{low:.4f}, {high:.4f}]"
        assert column(arms, "sd")[row] == f"{values.std(ddof=1):.4f}"
        assert column(arms, "n")[row] == "20"
    for row, pair in enumerate(stats.compare_all(results)):
        assert column(pairs, "anytime interval\nand p")[row] == f"too few\n{pair.p_anytime:.4f}"
        difference, interval = column(pairs, "a − b\n95% interval")[row].replace("−", "-").split("\n")
        assert difference == f"{pair.difference:+.4f}"
        assert interval == f"[{pair.ci95[0]:+.4f}, {pair.ci95[1]:+.4f}]"
        assert column(pairs, "d_z")[row].replace("−", "-") == f"{pair.effect_size:.3g}"
        others = column(pairs, "p Wilcoxon\np sign-flip")[row].split("\n")
        shown = (column(pairs, "p")[row], column(pairs, "p Holm")[row], *others)
        expected = (pair.p_value, pair.p_adjusted, pair.p_wilcoxon, pair.p_permutation)
        assert [float(p) for p in shown] == pytest.approx(expected, rel=0.06, abs=0)


def test_anytime_figures_stand_beside_the_fixed_ones():
    results = study_results(Study(trials=80))
    page = Reader(render(results))
    (pair,) = stats.compare_all(results)
    interval, p = column(page.tables[1], "anytime interval\nand p")[0].replace("−", "-").split("\n")
    assert interval == f"[{pair.ci95_anytime[0]:+.4f}, {pair.ci95_anytime[1]:+.4f}]"
    assert float(p) == pytest.approx(pair.p_anytime, rel=0.06)
    assert "the anytime interval and p where you looked and then added trials" in page.text


@pytest.mark.slow
@pytest.mark.parametrize("trials", [2, 5])
def test_too_few_trials_give_no_verdict(trials):
    said = f"{trials} paired trials are too few to speak; 6 or more are needed"
    two, three = (
        Reader(render(study_results(Study(arms=arms, trials=trials))))
        for arms in (("normal", "inverted"), ("normal", "inverted", "raw"))
    )
    for page in (two, three):
        assert said in page.text
        for head in ("p", "anytime interval\nand p", "p Wilcoxon\np sign-flip"):
            assert set(column(page.tables[1], head)) == {"too few"}
    assert "0 of 3 pairs of arms differ beyond chance" in three.text
    assert "The difference, normal minus inverted" not in two.text
    alone = Reader(render(study_results(Study(arms=("normal",), trials=trials))))
    assert f"{trials} trials are too few to speak" in alone.text
    assert "too few to speak" not in render(study_results(Study(trials=6)))


def test_each_arm_is_compared_at_its_best_learning_rate():
    study = Study(learning_rate=(0.1, 0.5, 1.0), trials=8)
    results = study_results(study)
    results.accuracy.values[0, 2] += 0.05
    results.accuracy.values[1, 1] += 0.3
    shown = StoredStudy(results=results)
    assert shown.best_rates == {"normal": 1.0, "inverted": 0.5}
    expected = stats.compare(results, "normal", "inverted", learning_rate=(1.0, 0.5))
    assert shown.comparisons[0].difference == expected.difference
    page = render(shown)
    assert "its own best learning rate of 3 tried (normal 1 and inverted 0.5)" in page
    assert "normal does best at the lowest or highest learning rate that was tried" in page
    strong = [tag for tag in Reader(page).all("tr") if tag.get("class") == "strong"]
    assert len(strong) == 2


@pytest.mark.slow
def test_figures_have_alternatives_with_numbers():
    study = Study(learning_rate=(0.1, 0.5), steps=40, eval_every=20, trials=8)
    results = study_results(study)
    shown = StoredStudy(results=results, border=np.eye(8, dtype=bool), bounds={"normal": 0.512})
    page = Reader(render(shown))
    figures = page.all("img")
    assert len(figures) == 6
    alts = " ".join(str(figure["alt"]) for figure in figures)
    best = shown.best["normal"]
    for figure in (
        f"normal mean {best.accuracy.mean:.4f}",
        f"normal is best at {best.learning_rate:g}",
        "curvature bound 0.512",
    ):
        assert figure in alts
    moved = summarise(shown.heatmaps["inverted"], np.eye(8, dtype=bool))
    assert f"inverted moves the border by {moved['border_mean']:.3g} on average" in alts
    assert f"{shown.comparisons[0].difference:+.4f}" in alts
    assert "at step 40" in alts


def test_page_needs_nothing_else():
    page = Reader(render(study_results(Study(trials=5)), csv="report.csv"))
    assert all(str(figure["src"]).startswith("data:image/svg+xml;base64,") for figure in page.all("img"))
    assert all(str(link["href"]).startswith("data:") for link in page.all("link"))
    assert {str(link["href"])[0] for link in page.all("a")} == {"#", "r"}
    assert page.all("script") == [{}]  # the page's own
    policy = str(next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv")))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")


def test_anchors_are_there_once_and_links_lead_to_them():
    page = Reader(render(study_results(Study(trials=5, learning_rate=(0.1, 0.5))), csv="report.csv"))
    anchors = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert len(set(anchors)) == len(anchors)
    links = [str(link["href"])[1:] for link in page.all("a") if str(link["href"]).startswith("#")]
    assert set(links) <= set(anchors)
    rows = page.all("tr")
    assert sum("id" in row for row in rows) >= 4  # each row of a table's body has one


@pytest.mark.slow
def test_names_come_out_escaped():
    results = study_results(Study(trials=4)).isel(arm=[0, 1, 1, 1, 1]).assign_coords(arm=list(HOSTILE_ARMS))
    fields = json.loads(results.attrs["study"]) | {"model": "x\n```\n<b>", "dataset": "<script>alert(1)</script>"}
    results.attrs |= {"study": json.dumps(fields), "device": "<u>"}
    page, text = (draw(results, title="<h1>&</h1>") for draw in (render, render_text))
    reader = Reader(page)
    assert reader.all("script") == [{}]
    assert not reader.all("i") + reader.all("b") + reader.all("u")
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert all(str(figure["src"]).startswith("data:") for figure in reader.all("img"))
    assert "<script>alert(1)</script>" in reader.text
    assert "<h1>&</h1>" in reader.text
    prose = re.sub(r"^(`{3,})\n.*?^\1\n", "", text.split("-->", 1)[1], flags=re.DOTALL | re.MULTILINE)  # without code
    assert len(prose) > 2000
    assert "<" not in prose
    assert "```" not in prose
    assert "\\$\\\\frac{1}\\$" in prose  # dollar and backslash are escaped


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda a: np.full_like(a, 0.25), "give the same accuracy in every one of 8 trials, 0.2500 on average"),
        (lambda a: a[:1] + 0.01 * np.arange(2).reshape(2, 1, 1, 1) * (-1.0) ** np.arange(8)[:, None], NOTHING_SHOWN),
        (lambda a: a * np.nan, "No trial has a value under both normal and inverted"),
    ],
)
def test_no_difference_is_not_called_one(values, words):
    results = study_results(Study(trials=8))
    results["accuracy"].values[:] = values(results.accuracy.values.copy())
    page = render(results)
    assert words in page
    assert "The difference, normal minus inverted" not in page


def test_one_trial_and_one_arm_are_told_as_such():
    assert "one trial says nothing" in render(study_results(Study(trials=1)))
    page = Reader(render(study_results(Study(arms=("normal",), trials=9))))
    assert "Accuracy is 0.87" in page.text
    assert len(page.all("img")) == 2  # no forest plot


def test_diverged_trials_are_counted_and_said_to_be_in():
    results = study_results(Study(trials=10))
    results["diverged"].values[1, 0, :3] = True
    results["accuracy"].values[1, 0, 0] = np.nan
    page = Reader(render(results))
    assert "3 of 20 trainings diverged; they are included wherever they have a value" in page.text
    assert column(page.tables[0], "diverged") == ["0 of 10", "3 of 10"]
    assert column(page.tables[0], "n") == ["10", "9"]


def test_a_run_that_is_not_finished_says_so(tmp_path):
    study = Study(trials=10)
    store_results(tmp_path, study, study_results(study), trials=4)
    page = Reader(write(tmp_path).read_text())
    assert "The run is not finished: 4 of 10 trials are done" in page.text
    assert column(page.tables[0], "n") == ["4", "4"]
    assert not [figure for figure in page.all("img") if "Heatmaps" in str(figure["alt"])]
    assert len((tmp_path / "report.csv").read_text().splitlines()) == 1 + 2 * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        Study(arms=("inverted+pixel_mean", "raw"), learning_rate=(0.1, 0.25), steps=20, eval_every=5, seed=7),
        Study(loss="squared_error", augment="flip", train_examples=300, label_noise=0.1),
        Study(arms=("raw", Arm("an arm", model="mlp:8,4", learning_rate=1e-5, label_noise=0.25)), learning_rate=0.1),
    ],
)
def test_command_on_the_page_makes_the_same_study(study):
    text = render_text(study_results(study))
    line = next(line for line in text.splitlines() if line.startswith("jaxinv run"))
    assert cli.parse(shlex.split(line)[1:]).study() == study
    assert line in Reader(render(study_results(study))).text


def test_several_studies_each_have_their_command():
    studies = Study(trials=3, seed=1), Study(trials=3, seed=2)
    text = render_text([StoredStudy(results=study_results(study), name=f"part{study.seed}") for study in studies])
    lines = [line for line in text.splitlines() if line.startswith("jaxinv run")]
    assert [cli.parse(shlex.split(line)[1:]).study() for line in lines] == list(studies)


@pytest.mark.slow
def test_objects_of_the_users_own_get_no_command():
    results = study_results(Study(trials=3))
    fields = json.loads(results.attrs["study"]) | {"model": {"own": "mine; rm -rf /"}}
    text = Reader(render(results.assign_attrs(study=json.dumps(fields)))).text
    assert "jaxinv run" not in text
    assert "build the study in Python with them" in text
    for arm in (
        {"own": "mine"},
        {"name": "x", "loss": {"own": "mine"}},
        {"name": "x"},
        {"name": "a: b", "model": "mlp"},
    ):
        fields = json.loads(results.attrs["study"]) | {"arms": ["normal", arm]}
        assert "jaxinv run" not in Reader(render(results.assign_attrs(study=json.dumps(fields)))).text


@pytest.mark.slow
def test_same_results_same_bytes(tmp_path):
    study = Study(steps=100, eval_every=50, trials=4)
    store_results(tmp_path, study, study_results(study))
    write(tmp_path)
    names = sorted(path for path in tmp_path.rglob("report*") if path.is_file()) + sorted(
        (tmp_path / "report_files").iterdir()
    )
    assert len(names) == 7
    first = {path: path.read_bytes() for path in names}
    write(tmp_path)
    assert {path: path.read_bytes() for path in names} == first


@pytest.mark.slow
def test_csv_gives_back_every_value(tmp_path):
    study = Study(arms=("raw", "inverted+pixel_mean"), learning_rate=(0.1, 0.5), steps=20, eval_every=10, trials=5)
    results = study_results(study)
    store_results(tmp_path, study, results)
    write(tmp_path)
    with (tmp_path / "report.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 2 * 2 * 5 * 2
    for row in rows:
        place = {"arm": row["arm"], "learning_rate": float(row["learning_rate"]), "trial": int(row["trial"])}
        cell = results.sel(**place, step=int(row["step"]))
        assert np.float32(row["accuracy"]) == cell.accuracy.values
        assert np.float32(row["test_loss"]) == cell.test_loss.values


def test_csv_leaves_out_what_has_not_run():
    done = np.array([True, False, False, True])
    results = study_results(Study(trials=4)).assign(done=("trial", done))
    rows = list(csv.DictReader(values_csv([StoredStudy(results=results)]).splitlines()))
    assert [row["trial"] for row in rows] == ["0", "3", "0", "3"]
    np.testing.assert_array_equal(
        np.array([row["accuracy"] for row in rows], np.float32), results.accuracy.values[..., done, 0].ravel()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.html", "report.md", "report.csv", "report_files/trials.png"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    study = Study(trials=4)
    store_results(tmp_path, study, study_results(study))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="was not written by jaxinv and is not overwritten"):
        write(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.slow
def test_figures_of_an_earlier_report_go_and_those_of_others_stay(tmp_path):
    study = Study(steps=100, eval_every=50, trials=4)
    store_results(tmp_path, study, study_results(study))
    write(tmp_path)
    figures = tmp_path / "report_files"
    (figures / "old.png").write_bytes((figures / "curve.png").read_bytes())
    (figures / "mine.png").write_bytes(b"mine")
    (figures / "notes.txt").write_text("mine")
    before = {path.name for path in figures.iterdir()}
    write(tmp_path)
    assert {path.name for path in figures.iterdir()} == before - {"old.png"}


@pytest.mark.slow
def test_a_link_is_not_followed(tmp_path):
    study = Study(trials=4)
    store_results(tmp_path / "run", study, study_results(study))
    (tmp_path / "run" / "report.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not a file that jaxinv wrote"):
        write(tmp_path / "run")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "run" / "report.html").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "report_files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="report_files is a link"):
        write(tmp_path / "run")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_border_and_bounds_come_from_the_very_dataset(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1), np.uint8)
    images[:, :2] = 0
    labels = np.arange(40) % 4
    arrays = {"x_train": images, "y_train": labels, "x_test": images[:8], "y_test": labels[:8]}
    np.savez(tmp_path / "own.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    study = Study(dataset="own.npz", learning_rate=(0.1, 0.5), trials=4, batch_size=10)
    dataset = Dataset(**arrays)
    store_results(tmp_path / "run", study, study_results(study, fingerprint=dataset.fingerprint))
    shown = read_studies(tmp_path / "run")[0]
    np.testing.assert_array_equal(shown.border, border_mask(images))
    for arm, flip in (("normal", False), ("inverted", True)):
        x = images.reshape(40, -1) / 255.0
        x = np.hstack([1 - x if flip else x, np.ones((40, 1))])
        assert shown.bounds[arm] == pytest.approx(2 * 4 / np.linalg.eigvalsh(x.T @ x / 40)[-1], rel=1e-6)
    arrays["x_train"] = 255 - images
    np.savez(tmp_path / "own.npz", **arrays)  # the same name, other images
    other = read_studies(tmp_path / "run")[0]
    assert other.border is None
    assert other.bounds == {}
    assert "The border is not marked" in render(other)


def test_every_kind_of_block_is_shown_in_both_forms():
    """A page knows nothing of studies: whoever has something to report hands over its blocks."""

    blocks = [
        "A paragraph.",
        sections.Bullets(["First line.", "Second line."]),
        sections.Table("Counts", ["name", "count"], [["one", "1"], ["two", "2"]], strong=[1], note="A note."),
        sections.Figure("sheet", "A sheet", "What the sheet shows.", "Below the sheet.", new_figure),
        sections.Code("jaxinv run"),
        sections.Link("Raw values", "values of all.csv"),
        sections.Facts([sections.Fact("source", ", the answer", "https://jaxinv.test/q")]),
        sections.Details("More", ["Hidden.", Section(title="Inner", blocks=["Deep."], anchor="inner")]),
    ]
    badge = sections.Badge("+", "holds", "positive")
    page = Page(title="T?", headline="Yes.", sections=[Section(title="S", blocks=blocks, anchor="s", badge=badge)])
    html, text = render_html(page), render_markdown(page)
    words = ["Yes.", "A paragraph.", "Second line.", "Counts", "A note.", "What the sheet shows.", "Below the sheet."]
    words += ["jaxinv run", "Raw values", ", the answer", "More", "Hidden.", "Inner", "Deep.", "holds"]
    for word in words:
        assert word in Reader(html).text + str(Reader(html).all("img"))
        assert word in text
    assert Reader(html).tables == [[["name", "count"], ["one", "1"], ["two", "2"]]]
    links = [link["href"] for link in Reader(html).all("a") if link.get("class") != "permalink"]
    assert links == ["#s", "values%20of%20all.csv", "https://jaxinv.test/q"]
    tags = Reader(html).all("article") + Reader(html).all("section")
    assert [tag["id"] for tag in tags if "id" in tag] == ["s", "inner"]
    assert "(values%20of%20all.csv)" in text
    assert "report_files/sheet.png" in text
    assert "| two | 2 |" in text
    assert [figure.key for figure in page.figures] == ["sheet"]


def test_what_makes_no_sense_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        read_studies(tmp_path / "nowhere")
    with pytest.raises(InputError, match="at least one stored study"):
        render([])
    with pytest.raises(InputError, match="no dimension 'trial'"):
        render(lifelike_results().rename(trial="t"))
    results = study_results(Study(trials=3)).assign(done=("trial", np.zeros(3, bool)))
    with pytest.raises(DataError, match="none of 3 trials is done"):
        render(results)


@pytest.mark.parametrize("trials", [2, 5, 6])
def test_a_runs_table_says_when_its_trials_are_too_few(trials):
    results = study_results(Study(trials=trials))
    results.attrs |= {"seconds": json.dumps({"total": 1.0, "compile": 0.5, "train": 0.5}), "plan": "", "there": 0}
    said = terminal.run_table(terminal.run_summary(results.assign_attrs(computed=trials)))
    assert (f"\n{trials} trials are too few to speak; 6 or more are needed\n" in said) == (trials < 6)


def test_csv_has_no_formulas():
    names = ("=cmd|' /C calc'!A0", "+1", "-1", "@sum", "normal", "a=1")
    results = study_results(Study(arms=tuple(Arm(name, preprocess="normal") for name in names), trials=3))
    results["test_loss"].values[:] = -1.5
    rows = list(csv.DictReader(values_csv([StoredStudy(results=results, name="=runs")]).splitlines()))
    assert [row["arm"] for row in rows[::3]] == [*(f"'{name}" for name in names[:4]), *names[4:]]
    assert {row["study"] for row in rows} == {"'=runs"}
    assert {row["test_loss"] for row in rows} == {"-1.5"}  # a number


@pytest.mark.slow
def test_a_report_removes_what_a_killed_one_left_half_written(tmp_path):
    write_to = tmp_path / "page"
    dead = subprocess.Popen(["true"])
    dead.wait()
    script = "import os, signal, sys; from jaxinv.utils import files; from pathlib import Path\n"
    script += "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    script += "files.write_bytes(sys.argv[1], b'half')"
    for name in ("report.html", "report_files/a.png"):
        (path := write_to / name).parent.mkdir(exist_ok=True, parents=True)
        subprocess.run([sys.executable, "-c", script, str(path)], check=False)
        assert len(list(path.parent.glob(".part-*"))) == 1
    here = write_to / f".part-{socket.gethostname()}-{os.getpid()}-0"  # of a process that is alive
    elsewhere = write_to / f".part-elsewhere-{dead.pid}-0"
    here.touch()
    elsewhere.touch()
    results = study_results(Study(trials=3))
    write_page(write_to, study_page([StoredStudy(results=results)]), [])
    assert sorted(write_to.rglob(".part-*")) == sorted([here, elsewhere])
