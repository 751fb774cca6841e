"""The command line as its users meet it: what it prints where, its exit status, and what bad input gets."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import jaxinv
import jaxinv as ji
from jaxinv import cli
from jaxinv.cli import output
from jaxinv.cli.options import Data, Training
from jaxinv.cli.stopping import Interrupted, resumable
from jaxinv.study import Study
from tests.datasets import tiny


@pytest.fixture
def npz(tmp_path: Path) -> str:
    data = tiny()
    path = tmp_path / "tiny.npz"
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return str(path)


SMALL = ("--trials", "3", "--steps", "4", "--batch-size", "20", "--quiet", "--no-cache")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rum",), "command: 'rum' is not known; did you mean 'run'?"),
        (("run", "--trails", "3"), "--trails"),
        (("run", "--trials", "many"), "--trials"),
        (("run", "--trials", "0"), "trials: 0 is not allowed; give a whole number from 1"),
        (("run", "--steps", "0"), "steps: 0 is not allowed"),
        (("run", "--batch-size", "0"), "batch_size: 0 is not allowed"),
        (("run", "--batch-size", "55001"), "batch_size: 55001 is more than the 55000 training images"),
        (("run", "--eval-every", "7"), "eval_every: 7 does not divide steps=50"),
        (("run", "--learning-rate", "nan"), "learning_rate: nan is not allowed"),
        (("run", "--learning-rate", "-1"), "learning_rate: -1.0 is not allowed; give a positive number"),
        (("run", "--arms", "nomal"), "arms: 'nomal' is not known; did you mean 'normal'?"),
        (("run", "--model", "sofmax"), "model: 'sofmax' is not known; did you mean 'softmax'?"),
        (("run", "--optimizer", "sdg"), "optimizer: 'sdg' is not known; did you mean 'sgd'?"),
        (("run", "--dataset", "mnits"), "dataset: 'mnits' is not known; did you mean 'mnist'?"),
        (("run", "--dataset", "no/such.npz"), "no/such.npz"),
        (("run", "--keep", "corect"), "keep: 'corect' is not known; did you mean 'correct'?"),
        (("run", "--test-arms", "nomal"), "test_arms: 'nomal' is not known; did you mean 'normal'?"),
        (("run", "--precision", "medium"), "precision: 'medium' is not known; give one of exact, fast"),
        (("run", "--devices", "0"), "devices: 0 is not allowed"),
        (("run", "--share", "5/4", "--out", "runs/x"), "share: '5/4' is not allowed; give I/N with I from 0 to N - 1"),
        (("run", "--share", "0/0", "--out", "runs/x"), "share: '0/0' is not allowed"),
        (("run", "--share", "0/2"), "share: a folder is needed that all workers see; give --out"),
        (("run", "--share", "0/2", "--out", "runs/x", "--distributed"), "share: --distributed says which worker"),
        (("run", "--chunk", "-1"), "chunk: -1 is not allowed"),
        (("run", "--trials", "2000000000"), "trials: 2000000000 need"),
        (
            ("run", "--learning-rate", "1e300"),
            "learning_rate: 1e+300 is not allowed; give a positive number up to 1e+38",
        ),
        (("run", "--quiet", "--verbose"), "verbose: --quiet and --verbose exclude each other"),
        (("replicate", "--chains", "0"), "chains: 0 is not allowed"),
        (("replicate", "--trials", "-3"), "trials: -3 is not allowed"),
        (("compare", "no/such/folder"), "no/such/folder"),
        (
            ("compare", "x", "normal"),
            "arms: 1 given (normal); give two, none for all pairs, or the folder of another run",
        ),
        (("power", "x", "normal", "inverted", "--target", "2"), "target: 2.0 is not allowed; give a number strictly"),
        (("arms", "--out", "sheet.exe"), "out: 'sheet.exe' is not a picture file"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *arguments)
    assert status == cli.SENSELESS
    assert out == ""
    assert says in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_run_prints_a_table_that_fits_80_columns(capsys: pytest.CaptureFixture[str], npz: str) -> None:
    arms = ("normal", "inverted+channel_zscore+image_mean")
    status, out, _ = call(capsys, "run", "--dataset", npz, *SMALL, "--arms", *arms, "--learning-rate", "0.1", "0.5")
    assert status == cli.DONE
    assert all(arm in out for arm in arms)
    assert max(map(len, out.replace(npz, "").splitlines())) <= 80


@pytest.mark.slow
def test_run_keeps_what_it_is_told_to(capsys: pytest.CaptureFixture[str], npz: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    kept = ("--keep", "correct", "confusion", "--test-arms", "inverted", "raw")
    status, out, _ = call(capsys, "run", "--dataset", npz, *SMALL, *kept, "--out", folder, "--json")
    assert status == cli.DONE
    results = ji.load(folder)
    assert results.correct.dims == ("arm", "learning_rate", "trial", "image")
    assert int(results.confusion.sum()) == 2 * 3 * 60
    assert "predictions" not in results
    for row in json.loads(out)["arms"]:
        assert row["rate"] == row["learning_rate"] == 0.5
        for arm, found in row["transfer"].items():
            values = results.transfer_accuracy.sel(arm=row["arm"], test_arm=arm).values.astype(np.float64)
            assert found["accuracy"]["mean"] == pytest.approx(values.mean())
    assert list(json.loads(out)["arms"][0]["transfer"]) == ["inverted", "raw"]


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS)], ids=lambda words: " ".join(words))
def test_help_fits_80_columns_and_has_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit:
        cli.main([*command, "--help"])
    assert exit.value.code in (0, None)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith("usage: ")]  # tyro does not wrap the commands
    assert max(map(len, lines)) <= 80
    assert f"Example: jaxinv {' '.join(command)}" in out
    assert "(default: None)" not in out


@pytest.mark.slow
def test_run_json_is_one_object_with_what_was_stored(
    capsys: pytest.CaptureFixture[str], npz: str, tmp_path: Path
) -> None:
    from jaxinv.store import load

    folder = tmp_path / "out"
    status, out, _ = call(capsys, "run", "--dataset", npz, *SMALL, "--out", str(folder), "--json")
    assert status == cli.DONE
    summary = json.loads(out)
    stored = load(folder)
    assert [row["arm"] for row in summary["arms"]] == ["normal", "inverted"]
    expected = stored.accuracy.sel(arm="inverted").values.astype(float).mean()
    assert summary["arms"][1]["accuracy"]["mean"] == pytest.approx(expected, rel=1e-9)
    assert summary["out"] == str(folder)

    status, out, _ = call(capsys, "compare", str(folder), "normal", "inverted", "--json")
    assert status == cli.DONE
    difference = stored.accuracy.values[0].astype(float) - stored.accuracy.values[1]
    assert json.loads(out)["difference"] == pytest.approx(difference.mean(), rel=1e-6)


def test_every_field_of_a_study_is_a_flag() -> None:
    assert {item.name for group in (Data, Training) for item in fields(group)} == {
        *Study.__dataclass_fields__,
        "data_dir",
    }
    assert cli.parse(["run"]).study() == Study()
    given = cli.parse(
        "run --dataset tfds:kmnist --arms raw lcn --model mlp --optimizer adam --learning-rate 0.1 0.2 --batch-size 7 "
        "--steps 20 --eval-every 10 --trials 3 --seed 9 --illumination 0.5 --precision fast --loss squared_error "
        "--augment flip --train-examples 70 --label-noise 0.25".split()
    ).study()
    expected = Study(
        dataset="tfds:kmnist",
        arms=("raw", "lcn"),
        model="mlp",
        optimizer="adam",
        learning_rate=(0.1, 0.2),
        batch_size=7,
        steps=20,
        eval_every=10,
        trials=3,
        seed=9,
        illumination=0.5,
        precision="fast",
        loss="squared_error",
        augment="flip",
        train_examples=70,
        label_noise=0.25,
    )
    assert given == expected


@pytest.mark.parametrize("kind", ["file", "foreign", "unwritable"])
def test_an_output_folder_that_is_something_else_is_left_alone(
    capsys: pytest.CaptureFixture[str], npz: str, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    if kind == "unwritable":
        if os.getuid() == 0:
            out = Path("/proc/out")  # not even root can write there
        else:
            out.chmod(0o500)
    for command in (("run", "--dataset", npz, *SMALL), ("replicate", "--quiet", "--no-cache")):
        status, _, err = call(capsys, *command, "--out", str(out))
        assert status == cli.SENSELESS
        assert err.startswith("jaxinv: out: ")
        assert err.count("\n") == 1
    if kind == "foreign":
        assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_listings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = call(capsys, "arms", "--json")
    assert status == cli.DONE
    assert "pixel_mean" in json.loads(out)["arms"]
    status, out, _ = call(capsys, "datasets", "--json", "--data-dir", str(tmp_path))
    assert status == cli.DONE
    assert json.loads(out)["datasets"][0]["state"] == "bundled"


def spawn(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    # an ignored signal is inherited (a shell's background jobs ignore SIGINT), a handled one starts as the default
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "jaxinv", *arguments],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_replicate_makes_everything_that_it_promises(tmp_path: Path) -> None:
    process = spawn("replicate", "--chains", "2", "--trials", "6", "--json", "--quiet", folder=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert set(summary) == {"published", "as_written", "independent", "weight_delta", "seconds", "out"}
    assert summary["published"] == {"normal": 0.91879, "inverted": 0.837478}
    assert summary["as_written"]["chains"] == 2
    assert set(summary["as_written"]["normal"]) == {"mean", "sd", "ci95", "z"}
    assert summary["as_written"]["normal"]["mean"] == pytest.approx(0.91879, abs=0.002)
    assert summary["as_written"]["inverted"]["mean"] == pytest.approx(0.837478, abs=0.025)
    assert summary["independent"]["trials"] == 6
    assert summary["independent"]["normal"]["mean"] == pytest.approx(0.8757, abs=0.02)
    assert summary["independent"]["inverted"]["mean"] < 0.55
    names = {"mean", "ci95", "ci95_anytime", "p_value", "p_anytime", "effect_size", "enough"}
    assert set(summary["independent"]["difference"]) == names
    assert summary["independent"]["difference"]["enough"]
    assert summary["as_written"]["normal"]["z"] is None  # of two chains
    assert summary["weight_delta"]["normal"]["border_max"] == 0.0
    assert summary["weight_delta"]["inverted"]["border_mean"] > 0.05
    assert set(summary["seconds"]) == {"compile", "train", "total"}
    folder = tmp_path / "runs" / "replicate"
    assert json.loads((folder / "summary.json").read_text()) == summary
    for name in ("weight_change.png", "chain.png", "trials.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert (folder / "as_written" / "results.zarr").is_dir()
    assert (folder / "independent" / "study.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ("run", "--steps", "2000", "--trials", "4000", "--out", "kept")
    process = spawn(*arguments, folder=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "kept" / "results.zarr" / "zarr.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == cli.RESUMABLE
    assert "finished trials are safe in kept; the same command goes on from there" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_can_complete(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(["--tyro-print-completion", shell])
    assert exit.value.code in (0, None)
    script = capsys.readouterr().out
    assert all(name in script for name in cli.COMMANDS)
    assert "--learning-rate" in script


@pytest.mark.slow
def test_bash_completes_names_and_other_names_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--tyro-print-completion", "bash"])
    script = capsys.readouterr().out
    for words, expected in (
        ("run --model deep", ["deep_mnist"]),
        ("run --json --arms raw inv", ["inverted"]),
        ("run --keep conf", ["confusion"]),
        ("compare --metric train", ["train_loss"]),
    ):
        typed = f'COMP_WORDS=(jaxinv {words}); COMP_CWORD={len(words.split())}; _tyro_jaxinv; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{typed}"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected
    training = cli.parse("run --arms inverted+zca --model mlp:7 --optimizer adam".split()).training
    assert (training.arms, training.model, training.optimizer) == (("inverted+zca",), ("mlp:7",), ("adam",))


def test_help_groups_options_under_titles(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    titles = re.findall(r"((?:[a-z]+ )?options) \W{3}", capsys.readouterr().out)
    names = ["data", "training", "storage", "stopping", "sharing", "machine"]
    assert titles == ["options", *(f"{name} options" for name in names)]


@pytest.mark.slow
def test_verbose_says_what_is_done(tmp_path: Path, npz: str) -> None:
    small = [word for word in SMALL if word != "--quiet"]
    process = spawn("run", "--dataset", npz, *small, "--out", "kept", "--verbose", folder=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "3 trials of 4 updates" in out
    for said in (
        "compiled programs: not kept",
        "read Dataset(",
        "kept: 0 of 3 trials are there",
        "trials 0 to 2: kept",
    ):
        assert f"jaxinv: {said}" in err
    assert "program of 2 arm(s), 1 rate(s)" in err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.8, 1.2])
def test_ctrl_c_stops_the_program_whenever_it_comes(tmp_path: Path, seconds: float) -> None:
    """Also while it imports, and where Python loses exceptions."""
    process = spawn("run", "--steps", "2000", "--trials", "4000", folder=tmp_path)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (cli.INTERRUPTED, -signal.SIGINT)  # before Python itself was ready, perhaps
    assert out == ""
    assert "Traceback" not in err


def test_ctrl_c_while_the_program_imports_is_one_line(tmp_path: Path) -> None:
    code = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *rest):
        if name == "jaxinv.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["jaxinv", "arms"]
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxinv.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (cli.INTERRUPTED, "", "jaxinv: interrupted\n")


def test_ctrl_c_where_python_loses_exceptions_comes_again() -> None:
    class Lost:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)

    def run() -> None:
        with resumable(None):
            Lost()
            time.sleep(5)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted, match="nothing was stored"):
            run()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "says"),
    [
        ("{run} 2>&-", 0, ""),
        ("{run} 2>/dev/full", 0, ""),
        ("{run} >/dev/full", 1, "jaxinv: standard output: cannot be written"),
        ("{run} --json >/dev/full", 1, "jaxinv: standard output: cannot be written"),
        ("{run} --help >&-", 0, ""),
        ("{run} --trials -2 2>&-", 2, ""),
        ("JAX_NUM_CPU_DEVICES=x {run}", 2, "jaxinv: JAX_NUM_CPU_DEVICES: 'x' is not allowed"),
        ("JAX_PLATFORMS=cuda {run}", 1, "jaxinv: devices: JAX finds none"),
    ],
)
def test_closed_and_full_streams_and_odd_settings(tmp_path: Path, npz: str, shell: str, status: int, says: str) -> None:
    run = f"'{sys.executable}' -m jaxinv run --dataset {npz} --trials 2 --steps 2 --batch-size 10 --no-cache"
    done = subprocess.run(
        ["sh", "-c", shell.format(run=run)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    if status:
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("run --trials x", "--trials: 'x' is not allowed; give a whole number; jaxinv run --help says"),
        ("run --learning-rate x", "--learning-rate: 'x' is not allowed; give a number; jaxinv run --help says"),
        ("run --trials", "--trials: no value is given; give one; jaxinv run --help says"),
        ("run --bogus 3", "--bogus: jaxinv run has no such option; jaxinv run --help says"),
        (
            "run --tirals 3",
            "--tirals: jaxinv run has no such option; perhaps you meant --trials; jaxinv run --help says",
        ),
        ("compare", "DIR: jaxinv compare needs it; give one; jaxinv compare --help says"),
        ("compare x --diverged out", "invalid choice 'out' for argument '--diverged'"),
    ],
)
def test_a_terminal_gets_errors_without_boxes_or_colours(arguments: str, says: str) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    command = [sys.executable, "-m", "jaxinv", *arguments.split()]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(theirs)
    _, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == cli.SENSELESS
    assert err.startswith(f"jaxinv: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"]])
@pytest.mark.parametrize(("name", "value"), [("PYTHONIOENCODING", "ascii"), ("COLUMNS", "1"), ("COLUMNS", "wide")])
def test_help_is_shown_on_any_terminal(arguments: list[str], name: str, value: str) -> None:
    command = [sys.executable, "-m", "jaxinv", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, name: value}, timeout=60, check=True
    )
    assert done.stdout.startswith("usage: jaxinv ")
    assert all(command in done.stdout for command in cli.COMMANDS)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_a_terminal_shows_verdicts_in_colour(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", stream)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = "a-claim  supported      0.5\nanother  does not hold  0.1\nIt holds."
    output.print_verdicts(text)
    plain = re.sub("\x1b\\[[0-9]+m", "", stream.getvalue())
    assert plain == text + "\n"
    assert stream.getvalue().count("\x1b[32m") == coloured
    assert stream.getvalue().count("\x1b[31m") == coloured


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == cli.DONE
    assert capsys.readouterr().out == f"jaxinv {jaxinv.__version__}\n"


@pytest.mark.slow
def test_a_terminal_gets_a_bar_that_is_gone_in_the_end(tmp_path: Path, npz: str) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    small = [word for word in SMALL if word != "--quiet"]
    command = [sys.executable, "-m", "jaxinv", "run", "--dataset", npz, *small]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side has closed
        while part := os.read(ours, 1 << 12):
            shown += part
    os.close(ours)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, shown
    assert "3 trials of 4 updates" in out
    assert b"training" in shown
    assert b"3/3 trials" in shown
    assert b"Traceback" not in shown


def test_the_module_and_the_script_are_the_same_program(tmp_path: Path) -> None:
    process = spawn("--help", folder=tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    script = subprocess.run(
        [Path(sys.executable).parent / "jaxinv", "--help"], capture_output=True, text=True, check=True
    )
    assert script.stdout == out
