"""What attacks found: hostile arguments end in one line that names the field, with the right exit status."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxinv import cli
from jaxinv.cli.options import OneLine
from jaxinv.cli.stopping import Interrupted
from jaxinv.engine.devices import local_hardware
from jaxinv.errors import DataError
from tests.cli.test_cli import call, npz

__all__ = ["npz"]

LONG = "a" * 300


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("run", "--out", LONG), "out"),
        (("run", "--out", f"{LONG}/x"), "out"),
        (("run", "--dataset", f"{LONG}.npz"), "dataset"),
        (("run", "--dataset", "tfds:mnist", "--data-dir", LONG), "data_dir"),
        (("run", "--study", LONG), "study"),
        (("claims", "--quick", "--out", LONG), "out"),
        (("claims", "--quick", "--dataset", "mnist", "{npz}", "--out", LONG), "out"),
        (("recommend", "--out", LONG), "out"),
        (("replicate", "--out", LONG), "out"),
        (("replicate", "cookbook", "--out", LONG), "out"),
        (("arms", "--out", f"{LONG}.png"), "out"),
        (("bench", "--out", LONG), "out"),
        (("report", LONG), "folder"),
        (("report", "x/" * 3000), "folder"),
    ],
)
def test_a_name_that_is_too_long_is_said_of_its_field(
    capsys: pytest.CaptureFixture[str], npz: str, arguments: tuple[str, ...], field: str
) -> None:
    status, out, err = call(capsys, *(word.replace("{npz}", npz) for word in arguments))
    assert (status, out) == (cli.SENSELESS, "")
    assert err.startswith(f"jaxinv: {field}: ")
    assert "(File name too long)" in err
    assert len(err) < 1100


def test_a_file_that_fails_is_not_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "parse", lambda arguments: Path("/no/such/file").read_text)
    assert call(capsys)[::2] == (
        cli.FAILED,
        "jaxinv: /no/such/file: cannot be used (No such file or directory)\n",
    )


def test_memory_that_does_not_suffice_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "parse", lambda arguments: lambda: bytearray(2**62))
    status, _, err = call(capsys)
    assert status == cli.FAILED
    assert err.startswith("jaxinv: memory: it does not suffice; give fewer trials")

    def no_thread() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(cli, "parse", lambda arguments: no_thread)
    assert call(capsys)[::2] == (
        cli.FAILED,
        "jaxinv: memory: it does not suffice for another thread; give fewer --devices, or more memory\n",
    )


@pytest.mark.parametrize("flag", ["--dataset", "--arms", "--model", "--until"])
def test_messages_are_short_and_keep_both_ends(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    status, _, err = call(capsys, "run", flag, "b" * 5000, "--no-cache")
    assert status == cli.SENSELESS
    assert len(err) < 1100
    assert " [...] " in err
    assert re.search("give|did you mean|says what is allowed", err)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("report", ""), "folder: '' is not allowed; give a path"),
        (("run", "--devices", "999"), "devices: 999 is not allowed; give a whole number from 1 to "),
        (("run", "--learning-rate", "1e-50"), "learning_rate: 1e-50 is 0 in float32; give a number from 1.2e-38"),
        (("run", "--learning-rate", "0.1", "0.1000000000001"), "has two values that are the same in float32"),
        (("run", "--arms", "a: learning_rate=1e-45", "normal"), "learning_rate: 1e-45 is 0 in float32"),
        (("run", "--out", "github://a"), "out: 'github://a' cannot be opened (TypeError: "),
    ],
)
def test_attacks_get_one_line(
    capsys: pytest.CaptureFixture[str], npz: str, arguments: tuple[str, ...], says: str
) -> None:
    more = () if arguments[0] == "report" else ("--dataset", npz, "--trials", "2", "--batch-size", "10")
    status, out, err = call(capsys, *arguments, *more)
    assert (status, out, err.count("\n")) == (cli.SENSELESS, "", 1)
    assert err.startswith("jaxinv: ")
    assert says in err


@pytest.mark.parametrize(
    ("coordinator", "status"),
    [
        ("localhost:0", cli.SENSELESS),
        ("localhost:65536", cli.SENSELESS),
        ("localhost:99999999", cli.SENSELESS),
        ("no such:1", cli.SENSELESS),
        ("a:b:1", cli.SENSELESS),
        (":1", cli.SENSELESS),
        ("no-such-host.invalid:1234", cli.FAILED),
        (f"{'a' * 80}.org:1", cli.FAILED),
    ],
)
def test_a_coordinator_that_cannot_be_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, coordinator: str, status: int
) -> None:
    monkeypatch.setattr("jaxinv.cli.training.keep_stdout", lambda **options: None)  # of the tests themselves
    more = ("--num-processes", "2", "--process-id", "1", "--no-cache")
    found, _, err = call(capsys, "run", "--distributed", "--coordinator", coordinator, *more)
    assert found == status
    assert err.startswith("jaxinv: coordinator: ")
    assert repr(coordinator) in err


def test_devices_that_are_not_there_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr("jax.local_devices", none)
    with pytest.raises(DataError, match=r"\(JAX_PLATFORMS='cuda': no such device, or the JAX that is installed"):
        local_hardware()


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_silences_what_libraries_print(quiet: bool) -> None:
    script = "import os; from jaxinv.cli.output import keep_stdout\n"
    script += f"keep_stdout(quiet={quiet}); os.write(1, b'[Gloo] Rank 0 is connected'); print('results')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "results\n"
    assert done.stderr == ("" if quiet else "[Gloo] Rank 0 is connected")


def test_an_interrupted_run_whose_folder_is_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert "finished trials are safe in" in str(Interrupted(str(tmp_path / "run")))
    assert "there is no folder" in str(Interrupted(str(tmp_path / "gone")))
    assert "put it back" in str(Interrupted(str(tmp_path / "gone")))


def test_notes_do_not_move_the_cursor() -> None:
    note = logging.LogRecord("jaxinv", logging.INFO, "", 0, "%s: grows", ("runs/\x1b[2J\nx",), None)
    assert OneLine("jaxinv: %(message)s").format(note) == r"jaxinv: runs/\x1b[2J x: grows"
