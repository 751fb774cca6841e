"""Whole commands on arguments and files that make no sense: a right result, or one line and the right exit status."""

import hashlib
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxinv import bench, cli, registry
from jaxinv.errors import InputError
from jaxinv.study import Study
from tests.datasets import tiny

STATUSES = {cli.DONE, cli.FAILED, cli.SENSELESS}
REUSED = (HealthCheck.function_scoped_fixture,)  # `capsys`, read empty by every example
SMALL = ("--trials", "3", "--steps", "2", "--batch-size", "10", "--quiet", "--no-cache")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    """Run a command; whatever it was given, it keeps to the rules of standard output, error and exit status."""
    try:
        status = cli.main(arguments)
    except SystemExit as exit:  # --help and the like
        status = exit.code or cli.DONE
    out, err = capsys.readouterr()
    assert status in STATUSES, (arguments, status)
    if status == cli.DONE:
        assert out or "--quiet" in arguments
        if "--json" in arguments and "-h" not in arguments:
            assert isinstance(json.loads(out), dict)
    else:
        assert out == ""
        last = err.splitlines()[-1]
        assert last.startswith("jaxinv: ")
        assert len(err) < 4000, arguments
        assert "Traceback" not in err
    return int(status)


def contents(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset `tiny.npz` and a stored run of it, `run`."""
    place = tmp_path_factory.mktemp("hostile")
    data = tiny()
    np.savez(place / "tiny.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    run = ("run", "--dataset", str(place / "tiny.npz"), *SMALL, "--learning-rate", "0.1", "0.5")
    assert cli.main([*run, "--out", str(place / "run")]) == cli.DONE
    return place


NUMBERS = st.sampled_from(["0", "1", "2", "3", "-1", "1e3", "nan", "inf", "-inf", "1e400", "0x10", "", " ", "٣", "x"])
FLAGS = st.one_of(
    st.tuples(st.sampled_from(["--trials", "--steps", "--batch-size", "--eval-every", "--seed"]), NUMBERS),
    st.tuples(st.sampled_from(["--illumination", "--learning-rate", "--chunk", "--devices"]), NUMBERS),
    st.tuples(
        st.just("--arms"), st.sampled_from([*registry.PREPROCESSINGS, "normal+", "+", "inverted+zca", "../x", "<b>"])
    ),
    st.tuples(st.just("--model"), st.sampled_from(["softmax", "mlp", "soft\tmax", ""])),
    st.tuples(st.just("--precision"), st.sampled_from(["fast", "slow"])),
    st.tuples(st.sampled_from(["--json", "--verbose", "--no-cache", "--num-processes=2", "--nonsense", "stray"])),
)


@pytest.mark.slow
@given(flags=st.lists(FLAGS, max_size=3))
@settings(max_examples=25, suppress_health_check=REUSED)
def test_run_takes_or_refuses_any_flags(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[tuple[str, ...]]
) -> None:
    given = [word for flag in flags for word in flag]
    base = ["run", "--dataset", str(place / "tiny.npz"), *SMALL]
    call(capsys, *base, *given)


@pytest.fixture(scope="module")
def spare(place: Path) -> Path:
    """A copy of the run that nothing may change."""
    return shutil.copytree(place / "run", place / "spare")


@pytest.mark.slow
@given(
    command=st.sampled_from(["compare", "power"]),
    arms=st.lists(st.sampled_from(["normal", "inverted", "zca", "", "<b>", "a\nb"]), max_size=3),
    flags=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["--alpha", "--margin", "--learning-rate", "--effect", "--target"]), NUMBERS),
            st.tuples(st.just("--learning-rate"), st.sampled_from(["0.1", "0.5", "0.25"])),
            st.tuples(st.just("--json")),
        ),
        max_size=3,
    ),
)
@settings(max_examples=120, suppress_health_check=REUSED)
def test_reading_commands_take_or_refuse_any_arguments_and_change_nothing(
    spare: Path, capsys: pytest.CaptureFixture[str], command: str, arms: list[str], flags: list[tuple[str, ...]]
) -> None:
    before = contents(spare)
    call(capsys, command, str(spare), *arms, *(word for flag in flags for word in flag))
    assert contents(spare) == before


@pytest.mark.slow
@given(which=st.integers(0, 10**6), seed=st.integers(0, 10**6), how=st.sampled_from(["flip", "cut", "fill", "empty"]))
@settings(max_examples=60, suppress_health_check=REUSED)
def test_a_damaged_run_is_read_rightly_or_refused(
    place: Path, capsys: pytest.CaptureFixture[str], which: int, seed: int, how: str
) -> None:
    """Whichever file is damaged: what `compare` prints is what it prints of the sound run, or it is one line."""
    sound = place / "run"
    damaged = place / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(sound, damaged)
    files = sorted(p for p in damaged.rglob("*") if p.is_file())
    path = files[which % len(files)]
    path.write_bytes(spoil(path.read_bytes(), how, random.Random(seed)))
    question = ("normal", "inverted", "--learning-rate", "0.5", "--json")
    status = cli.main(["compare", str(damaged), *question])
    got, err = capsys.readouterr()
    assert status in STATUSES
    if status == cli.DONE:
        cli.main(["compare", str(sound), *question])
        assert json.loads(got) == json.loads(capsys.readouterr().out)
    else:
        assert got == ""
        assert err.count("\n") == 1
        assert err.startswith("jaxinv: ")
    report_status = cli.main(["report", str(damaged)])
    assert report_status in STATUSES
    capsys.readouterr()


def spoil(data: bytes, how: str, rng: random.Random) -> bytes:
    if how == "empty" or not data:
        return b""
    at = rng.randrange(len(data))
    if how == "cut":
        return data[:at]
    if how == "fill":
        return data[:at] + rng.randbytes(len(data) - at)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(
    name=st.sampled_from(["summary.json", "claims.json", "study.json"]),
    content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
)
@settings(max_examples=80, suppress_health_check=REUSED)
def test_a_report_of_any_json_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    folder = place / "json"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert call(capsys, "report", str(folder)) != cli.DONE
    assert sorted(p.name for p in folder.iterdir()) == [name]
    assert (folder / name).read_bytes() == content


KEYS = ["rows", "ceilings", "machine", "job", "plan", "peak_bytes", "study"]


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=7) | JSON)
@settings(max_examples=150)
def test_any_json_is_another_machines_result_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "other.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"^against: "):
        bench.read(str(path), Study())


@pytest.mark.parametrize("out", ["missing/arms.png", "arms.gif", "a\0.png", "", "."])
def test_arms_refuse_an_out_that_is_no_picture(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "arms", "--out", out) == cli.SENSELESS
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bench_leaves_a_stored_run_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(place / "run")
    small = ("--dataset", str(place / "tiny.npz"), "--most", "1", "--steps", "2", "--batch-size", "10")
    assert call(capsys, "bench", *small, "--no-cache", "--quiet", "--out", str(place / "run")) == cli.SENSELESS
    assert contents(place / "run") == before


@pytest.mark.slow
def test_a_sound_result_of_another_machine_is_taken(tmp_path: Path) -> None:
    study = Study(dataset=tiny(), trials=2, steps=2, batch_size=10)
    result = bench.measure(study, most=2, progress=False)
    path = tmp_path / "here.json"
    path.write_text(json.dumps(result))
    assert all(math.isfinite(row["trials_per_second"]) for row in bench.read(str(path), study)["rows"])
    with pytest.raises(InputError, match=r"another study \(other steps\)"):
        bench.read(str(path), study.replace(steps=3))
