"""Pages and tables of studies whose arms change more than the preprocessing."""

import csv
import re

import numpy as np
import optax
import pytest
import scipy.stats
import xarray as xr

import jaxinv as ji
from jaxinv import Arm
from jaxinv.report import sentences, tables, terminal
from jaxinv.report.arms import DescribedArms
from jaxinv.report.figures import figures
from jaxinv.report.study import StoredStudy
from jaxinv.report.writing import values_csv
from jaxinv.study import Study
from tests.builders import study_results
from tests.report.test_report import Reader, column, render

ADAM = Arm("adam", optimizer="adam", learning_rate=(0.001, 0.003, 0.01))
SLOW = Arm("adam", optimizer="adam", learning_rate=0.001)
KINDS = (
    "normal",
    "inverted",
    Arm("bn", model="mlp_bn"),
    SLOW,
    Arm("few", train_examples=1000),
    Arm("wrong labels", label_noise=0.2),
    Arm("focal", loss="sigmoid_focal_loss"),
    Arm("moved", augment="shift"),
    Arm("small batches", batch_size=10),
)


def tuned() -> xr.Dataset:
    """sgd and inverted along the axis, adam at rates of its own."""
    study = Study(arms=("normal", "inverted", ADAM), learning_rate=(0.3, 1.0, 3.0), trials=8)
    results = study_results(study)
    results.accuracy.values[0, 0] += 0.05
    results.accuracy.values[1, 1] += 0.3
    results.accuracy.values[2, 2] += 0.4
    return results


def summary(study: Study, results: xr.Dataset) -> dict:
    """What `jaxinv run` prints from."""
    attrs = {"seconds": '{"total": 1.0, "compile": 0.5, "train": 0.5}', "plan": "", "there": 0, "computed": 8}
    return terminal.run_summary(results.assign_attrs(attrs))


@pytest.mark.slow
def test_a_page_tells_the_learning_rates_that_were_used():
    results = tuned()
    shown = StoredStudy(results=results)
    assert shown.best_rates["adam"] == 3.0
    assert shown.best["adam"].rate == 0.01
    page = render(shown)
    assert "its own best learning rate of 3 tried (normal 0.3, inverted 1 and adam 0.01)" in page
    arms, pairs = Reader(page).tables[:2]
    assert column(arms, "learning rate") == ["0.3", "1", "3"] * 2 + ["0.001", "0.003", "0.01"]
    assert column(pairs, "rate a") == ["0.3", "0.3", "1"]
    assert column(pairs, "rate b") == ["1", "0.01", "0.01"]
    alts = " ".join(str(figure["alt"]) for figure in Reader(page).all("img"))
    assert "adam is best at 0.01 with" in alts
    assert "learning rates from 0.001 to 3" in alts
    rows = list(csv.DictReader(values_csv([shown]).splitlines()))
    assert {(row["learning_rate"], row["rate"]) for row in rows if row["arm"] == "adam"} == {
        ("0.3", "0.001"),
        ("1.0", "0.003"),
        ("3.0", "0.01"),
    }
    assert all(row["learning_rate"] == row["rate"] for row in rows if row["arm"] != "adam")


def test_one_rate_of_its_own_stands_once():
    study = Study(
        arms=("normal", Arm("adam", optimizer="adam", learning_rate=0.001)), learning_rate=(0.1, 0.5), trials=6
    )
    results = study_results(study)
    results["diverged"].values[1, :, 0] = True
    shown = StoredStudy(results=results)
    assert [(cell.arm, cell.rate) for cell in shown.cells] == [("normal", 0.1), ("normal", 0.5), ("adam", 0.001)]
    assert shown.trainings == 18
    page = render(shown)
    assert "its own best learning rate (normal 0." in page
    assert "which flatters arms for which many were tried" in page
    assert "1 of 18 trainings diverged" in page
    lines = terminal.run_table(summary(study, results)).splitlines()
    assert [line.split()[:2] for line in lines if re.match(r"(normal|adam) +0\.\d", line)] == [
        ["normal", "0.1"],
        ["normal", "0.5"],
        ["adam", "0.001"],
    ]
    assert [row["rate"] for row in summary(study, results)["arms"]] == [0.1, 0.5, 0.001, 0.001]


def test_different_rates_without_a_choice_are_shown_and_not_called_best():
    study = Study(arms=("normal", Arm("adam", optimizer="adam", learning_rate=0.001)), trials=6)
    page = render(study_results(study))
    assert column(Reader(page).tables[0], "learning rate") == ["0.5", "0.001"]
    assert "best learning rate" not in page
    assert "Accuracy against learning rate" not in page
    assert "softmax on MNIST, sgd, learning rate 0.5, batches of 100, unless an arm changes it: 6 paired trials" in page
    assert "under normal and adam (optimizer adam, learning rate 0.001)." in page


def test_no_page_claims_for_all_arms_what_some_arm_changes():
    shown = StoredStudy(results=study_results(Study(arms=KINDS, trials=4)))
    lede, methods = sentences.lede(shown), sentences.methods(shown)
    assert (
        ", unless an arm changes it: 4 paired trials of 50 updates under normal, inverted, bn (model mlp_bn)," in lede
    )
    for text in (
        "few (1,000 training examples)",
        "wrong labels (20% label noise)",
        "moved (augmentation shift: each image moved by up to 2 pixels",
        "focal (loss sigmoid_focal_loss: one focal loss",
        "What an arm changes takes the place of the study's setting.",
        "the same initial weights wherever the model is the same and reads the same examples in the same order, ",
        "under every arm that trains on as many examples, and at every learning rate",
        "The smaller training subset of a trial lies inside the larger.",
    ):
        assert text in methods
    product = Study(arms=(Arm("a", model="mlp", optimizer="sgd"), Arm("b", model="mlp_bn", optimizer="adam")), trials=4)
    lede, methods = (
        write(StoredStudy(results=study_results(product))) for write in (sentences.lede, sentences.methods)
    )
    assert "softmax" not in lede + methods
    assert "unless" not in lede
    assert lede.startswith("MNIST, learning rate 0.5, batches of 100: 4 paired trials")
    assert "The mean is given" not in methods  # of several arms, means are
    assert methods.startswith("We trained networks on MNIST (70,000 handwritten digits")
    assert ", learning rate 0.5, in batches" not in methods
    assert "with learning rate 0.5, in batches of 100 for 50 updates under 2 arms: a (model mlp" in methods


def test_what_is_not_usual_of_the_whole_study_is_named():
    study = Study(loss="squared_error", augment="flip", train_examples=5000, label_noise=0.25, trials=4)
    results = study_results(study)
    methods, lede = (write(StoredStudy(results=results)) for write in (sentences.methods, sentences.lede))
    for text in (
        "Training minimised the loss squared_error (squared distance of the logits",
        "Training images were augmented: flip (each image mirrored left to right",
        "Each trial trained on a random subset of 5,000 training examples.",
        "another class took the place of 25% of the training labels",
    ):
        assert text in methods
    settings = "loss squared_error, augmentation flip, 5,000 training examples, 25% label noise"
    assert f"batches of 100, {settings}: 4 paired trials" in lede
    title = terminal.run_table(summary(study, results)).splitlines()[0]
    assert title == f"mnist, softmax, sgd, learning rate 0.5, {settings}: 4 trials of 50 updates"


def test_the_usual_study_is_told_as_ever():
    shown = StoredStudy(results=study_results(Study(trials=4)))
    assert sentences.lede(shown) == (
        "softmax on MNIST, sgd, learning rate 0.5, batches of 100: 4 paired trials of 50 updates under normal and "
        "inverted."
    )
    assert sentences.methods(shown).startswith(
        "We trained softmax regression from zero, as in the TensorFlow tutorial (model 'softmax') on MNIST (70,000 "
        "handwritten digits, bundled: 55,000 to train on (the tutorial's split), 10,000 to test on) with sgd, learning "
        "rate 0.5, in batches of 100 for 50 updates under 2 arms: normal (grey values divided by 255: background 0, "
        "foreground 1) and inverted (one minus normal: background 1, foreground 0). Each arm was run in 4 trials. "
        "Trials are paired: trial t starts from the same initial weights and sees the same batches in the same order "
        "under every arm and at every learning rate. The training set is shuffled anew for every trial and every epoch."
    )


def test_the_table_of_a_run_says_what_each_arm_changes():
    study = Study(
        arms=("normal", Arm("bn", model="mlp_bn"), Arm("adam", optimizer="adam", learning_rate=0.001)), trials=4
    )
    text = terminal.run_table(summary(study, study_results(study)))
    assert text.splitlines()[:5] == [
        "mnist, softmax, sgd: 4 trials of 50 updates",
        "",
        "arm   what it changes",
        "bn    model mlp_bn",
        "adam  optimizer adam, learning rate 0.001",
    ]
    assert max(map(len, text.splitlines())) <= 80
    alike = Study(arms=(Arm("adam", optimizer="adam", learning_rate=0.01),), trials=4)
    title = terminal.run_table(summary(alike, study_results(alike))).splitlines()[0]
    assert title == "mnist, softmax, learning rate 0.01: 4 trials of 50 updates"


def test_arms_are_described_by_name_and_objects_by_theirs():
    own = ji.Preprocess(lambda images: None, lambda fitted, images: images, name="mine")
    study = Study(arms=("raw", own, Arm("both", preprocess=own, optimizer=optax.adam))).to_dict()
    arms = DescribedArms(study, ["both", "mine", "raw", "stranger"])
    assert set(arms.short) == {"both"}
    assert arms.short["both"].startswith("preprocessing mine, optimizer ")
    assert arms.long["raw"] == "grey values as stored, 0 to 255"
    assert set(arms.long) == {"raw", "both"}


def test_arms_without_pixel_weights_have_no_heatmap_and_the_page_says_so():
    study = Study(arms=("normal", "inverted", Arm("net", model="cnn")), trials=4)
    results = study_results(study)
    results["weight_delta"].values[1:] = np.nan
    results["diverged"].values[1] = True
    shown = StoredStudy(results=results)
    (figure,) = [figure for figure in figures(shown) if figure.key == "weights"]
    assert "net not shown: the first layer does not read pixels." in figure.caption
    assert "inverted not shown: every trial diverged." in figure.caption
    assert len([ax for ax in figure.drawn.axes if ax.images]) == 1
    assert "nan" not in figure.alt
    results["weight_delta"].values[:] = np.nan
    assert "weights" not in [figure.key for figure in figures(StoredStudy(results=results))]


def test_what_arms_do_is_headed_by_what_it_is():
    images, other = (
        StoredStudy(results=study_results(Study(arms=arms, trials=3))) for arms in (("raw", "signed"), KINDS)
    )
    for studies, what in (([images], "what it makes of an image"), ([images, other], "what it does")):
        table = tables.described_arms_table(studies)
        assert table is not None
        assert table.head[1] == what


def with_tests(study: Study, tests: list[str]) -> xr.Dataset:
    """Made-up results whose networks were tested under other preprocessings."""
    results = study_results(study)
    shape = (len(study.arms), len(study.learning_rates), study.trials, len(tests))
    values = np.random.default_rng(3).random((2, *shape)).astype(np.float32)
    dims = ("arm", "learning_rate", "trial", "test_arm")
    results = results.assign(transfer_accuracy=(dims, values[0]), transfer_loss=(dims, values[1]))
    return results.assign_coords(test_arm=tests)


def test_accuracies_under_other_preprocessings_are_shown():
    study = Study(arms=("normal", ADAM), learning_rate=(0.3, 1.0, 3.0), trials=5)
    results = with_tests(study, ["raw", "inverted"])
    rows = summary(study, results)["arms"]
    values = results.transfer_accuracy.values.astype(np.float64)
    for place, row in enumerate(rows):
        own = values[place // 3, place % 3, :, 1]
        accuracy = row["transfer"]["inverted"]["accuracy"]
        half = scipy.stats.t.ppf(0.975, 4) * own.std(ddof=1) / np.sqrt(5)
        np.testing.assert_allclose(accuracy["ci95"], [own.mean() - half, own.mean() + half])
        loss = results.transfer_loss.values[place // 3, place % 3, :, 0].astype(np.float64)
        np.testing.assert_allclose(row["transfer"]["raw"]["loss"]["mean"], loss.mean())
    lines = terminal.run_table(summary(study, results)).splitlines()
    at = lines.index("Accuracy on the test images under each preprocessing:")
    assert lines[at + 2].split() == ["arm", "rate", "raw", "inverted"]
    assert lines[at + 7].split() == ["adam", "0.001", *(f"{mean:.5f}" for mean in values[1, 0].mean(axis=0))]
    table = tables.transfer_table(StoredStudy(results=results))
    assert table is not None
    best = StoredStudy(results=results).best["adam"].learning_rate
    mean = values[1, study.learning_rates.index(best), :, 0].mean()
    assert table.rows[1][:2] == ["adam", table.rows[1][1]]
    assert table.rows[1][1].startswith(f"{mean:.4f}\n[")
    assert "Tested under other preprocessings" in render(results)
    assert "transfer" not in summary(study, study_results(study))["arms"][0]
    many = with_tests(study, ["global_mean", "channel_zscore", "image_standardize", "pixel_zscore", "zca", "histogram"])
    assert max(map(len, terminal.run_table(summary(study, many)).splitlines())) <= 80


def test_unfinished_trials_are_not_among_the_tested():
    study = Study(arms=("normal",), trials=4)
    results = with_tests(study, ["raw"]).assign(done=("trial", [True, False, True, False]))
    (row,) = summary(study, results)["arms"]
    expected = results.transfer_accuracy.values[0, 0, [0, 2], 0].astype(np.float64).mean()
    assert row["transfer"]["raw"]["accuracy"]["mean"] == expected


@pytest.mark.slow
def test_many_arms_are_counted_in_the_title_and_their_rates_listed_once():
    arms = ("normal", "inverted", "raw", "signed", ADAM)
    shown = StoredStudy(results=study_results(Study(arms=arms, learning_rate=(0.3, 1.0, 3.0), trials=4)))
    captions = [figure.caption for figure in figures(shown)]
    assert sum("at each arm's best learning rate." in caption for caption in captions) == 2
    assert not [caption for caption in captions if "adam" in caption]
    assert render(shown).count(f"(normal {shown.best['normal'].rate:g}, inverted") == 1
    assert sentences.question([shown]) == "How do normal, inverted, raw, signed and adam compare on MNIST?"
    many = StoredStudy(results=study_results(Study(arms=KINDS, trials=3)))
    assert sentences.question([many]) == "How do 9 arms compare on MNIST?"
    border = np.eye(8, dtype=bool)
    for arms, said in ((("normal", KINDS[7]), True), (("normal", "inverted"), False)):
        augmented = StoredStudy(results=study_results(Study(arms=arms, trials=3)), border=border)
        (figure,) = [figure for figure in figures(augmented) if figure.key == "weights"]
        assert ("turns on, before augmentation)" in figure.caption) == said
