"""A study from the command line: arms as text, several values, files, and which of them wins."""

import json
from pathlib import Path

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import cli
from tests.datasets import tiny

SMALL = ("--trials", "3", "--steps", "4", "--batch-size", "20", "--quiet", "--no-cache")
ADAM = "adam: optimizer=adam learning_rate=0.001"


@pytest.fixture
def npz(tmp_path: Path) -> str:
    data = tiny()
    path = tmp_path / "tiny.npz"
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return str(path)


def parsed(*arguments: str) -> ji.Study:
    return cli.parse(["run", *arguments]).study()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_arms_are_preprocessings_and_text() -> None:
    adam = ji.Arm("adam", optimizer="adam", learning_rate=0.001)
    assert parsed("--arms", "normal", "inverted", ADAM) == ji.Study(arms=("normal", "inverted", adam))


def test_one_value_is_the_study_s_and_several_make_arms() -> None:
    assert parsed("--model", "mlp", "--optimizer", "adam") == ji.Study(model="mlp", optimizer="adam")
    made = parsed("--arms", "normal", "inverted", "--model", "mlp", "mlp_bn", "--optimizer", "sgd", "adam")
    product = ji.arms(preprocess=("normal", "inverted"), model=("mlp", "mlp_bn"), optimizer=("sgd", "adam"))
    assert made == ji.Study(arms=product)
    assert made.arm_names[:3] == ("normal mlp sgd", "normal mlp adam", "normal mlp_bn sgd")
    assert parsed("--model", "mlp", "cnn").arm_names == ("normal mlp", "normal cnn", "inverted mlp", "inverted cnn")
    assert parsed("--arms", "normal", ADAM, "--model", "mlp", "cnn").arm_names[2:] == ("adam mlp", "adam cnn")


def test_every_field_that_an_arm_may_change_takes_several() -> None:
    flags = (
        "--loss cross_entropy squared_error --augment none flip --batch-size 5 6 --train-examples 7 8 --label-noise 0 1"
    )
    made = parsed("--arms", "raw", *flags.split())
    assert len(made.arms) == 2**5
    assert made.arm_names[-1] == "squared_error flip batch_size=6 train_examples=8 label_noise=1"
    assert made.batch_size == ji.Study().batch_size  # each arm has its own


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model",), "model: none given; give one or more"),
        (("--learning-rate",), "learning_rate: none given"),
        (("--model", "mlp", "mlp"), "arms: normal mlp, normal mlp, inverted mlp, inverted mlp has a name twice"),
        (("--model", "mlp", "mpl"), "model: 'mpl' is not known; did you mean 'mlp'?"),
        (("--arms", "adam: optimzer=adam"), "arms: adam: 'optimzer' is not known; did you mean 'optimizer'?"),
        (("--arms", "adam:"), "arms: 'adam:' sets no field"),
        (("--arms", "normal", "normal: model=mlp"), "arms: normal, normal has a name twice"),
        (("--arms", "normal", "x: model=mlp", "--model", "mlp", "cnn"), "model: the arm 'x' sets it already"),
        (
            ("--arms", "normal", "raw", "normal mlp: loss=squared_error", "--model", "mlp", "mlp mlp"),
            "model: 'mlp mlp' is not known",
        ),
        (
            ("--arms", "adam: optimizer=adam learning_rate=0.1,0.2,0.3", "--learning-rate", "0.1", "0.2"),
            "arms: adam: learning_rate: 3 values are not allowed; give one, or as many as the study's 2",
        ),
        (("--train-examples", "100", "55001"), "train_examples: 55001"),
        (("--label-noise", "1.5"), "label_noise: 1.5 is not allowed; give a number from 0 to 1"),
        (("--eval-every", "None"), "--eval-every: 'None' is not allowed; give a whole number"),
        (("--precision", "None"), "precision: 'None' is not known; give one of exact, fast"),
    ],
)
def test_bad_flags_get_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    status, out, err = call(capsys, "run", *arguments)
    assert (status, out, err.count("\n")) == (cli.SENSELESS, "", 1)
    assert says in err


@pytest.mark.slow
def test_a_study_file_makes_the_same_study_and_flags_override_it(
    capsys: pytest.CaptureFixture[str], npz: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    arguments = ("--arms", "normal", ADAM, "--model", "mlp", "--learning-rate", "0.1", "--eval-every", "2")
    assert call(capsys, "run", "--dataset", npz, *SMALL, *arguments, "--out", str(folder))[0] == cli.DONE
    file = str(folder / "study.json")
    stored = ji.Study.from_json((folder / "study.json").read_text())
    assert parsed("--study", file) == stored
    assert parsed("--study", file, "--trials", "5", "--seed", "0") == stored.replace(trials=5)
    assert parsed("--study", file, "--steps", "50", "--arms", "raw") == stored.replace(steps=50, arms=("raw",))
    varied = parsed("--study", file, "--batch-size", "10", "20")
    assert varied.arm_names == (
        "normal batch_size=10",
        "normal batch_size=20",
        "adam batch_size=10",
        "adam batch_size=20",
    )
    status, out, _ = call(
        capsys, "run", "--study", file, "--trials", "4", "--quiet", "--no-cache", "--out", str(folder), "--json"
    )
    assert status == cli.DONE
    assert [row["arm"] for row in json.loads(out)["arms"]] == ["normal", "adam"]
    assert ji.load(folder).sizes["trial"] == 4  # the same run, grown


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read (No such file or directory); give the study.json of a stored run"),
        (b"\xff\xfe\x00", "cannot be read (it is no text)"),
        (b"{", "study: the text is not JSON"),
        (b"[" * 100_000, "study: the text is not JSON"),
        (b"[1]", "study: list is not allowed; give a JSON object"),
        (b'{"trials": 3, "version": 3}', "has 'version', which no study has; give the study.json of a stored run"),
        (b'{"trials": "many"}', "trials: 'many' is not allowed"),
        (b'{"arms": {"name": "x"}}', "arms: {'name': 'x'} is not allowed; give a sequence"),
        (b'{"model": {"own": "Net", "fingerprint": "1"}}', "model: 'Net' is an object of your own"),
        (b'{"arms": ["raw", {"name": "x", "loss": {"own": "f"}}]}', "loss: 'f' is an object of your own"),
    ],
)
def test_other_files_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "study.json"
    if content is not None:
        file.write_bytes(content)
    status, out, err = call(capsys, "run", "--study", str(file), "--out", str(tmp_path / "out"))
    assert (status, out, err.count("\n")) == (cli.SENSELESS, "", 1)
    assert says in err
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_study_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = call(capsys, "run", "--study", str(tmp_path))
    assert status == cli.SENSELESS
    assert "cannot be read (Is a directory); give the study.json of a stored run" in err


def test_a_flag_takes_the_place_of_an_object_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps({"model": {"own": "Net", "fingerprint": "1"}, "trials": 7}))
    assert parsed("--study", str(file), "--model", "mlp") == ji.Study(model="mlp", trials=7)
