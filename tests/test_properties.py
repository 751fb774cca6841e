"""Whatever comes in, a right result or one clear line: studies, their JSON, the command line's arguments, files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxinv import cli, registry
from jaxinv.errors import DataError, InputError
from jaxinv.study import MAX_EXAMPLES, Study

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = tuple(Study.__dataclass_fields__)


def check_field(error: Exception) -> None:
    assert str(error).split(":")[0] in FIELDS


def check_line(error: Exception) -> None:
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 2000


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4))
@settings(max_examples=400)
def test_any_fields_make_a_study_or_one_line(fields: dict[str, Any]) -> None:
    try:
        study = Study(**fields)
    except InputError as error:
        check_line(error)
        check_field(error)
        return
    assert Study.from_json(study.to_json()) == study


VALID = st.fixed_dictionaries(
    {
        "arms": st.lists(st.sampled_from(list(registry.PREPROCESSINGS)), min_size=1, max_size=4, unique=True).map(
            tuple
        ),
        "model": st.sampled_from(list(registry.MODELS)),
        "optimizer": st.sampled_from(list(registry.OPTIMIZERS)),
        "learning_rate": st.floats(1e-9, 1e9)
        | st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=3, unique=True).map(tuple),
        "batch_size": st.integers(1, 1000),
        "steps": st.integers(1, 10_000),
        "trials": st.integers(1, MAX_EXAMPLES),
        "seed": st.integers(0, 2**32 - 1),
        "illumination": st.floats(0, 0.999),
    }
)


@given(VALID, st.integers(1, 100))
@settings(max_examples=200)
def test_valid_studies_survive_json_and_keep_their_hash(fields: dict[str, Any], divisor: int) -> None:
    if fields["steps"] % divisor == 0:
        fields["eval_every"] = divisor
    study = Study(**fields)
    again = Study.from_json(study.to_json())
    assert again == study
    assert again.hash == study.hash
    assert len(study.eval_steps) == study.steps // (study.eval_every or study.steps)
    assert study.eval_steps[-1] == study.steps


@given(st.text(max_size=60) | ANYTHING.map(lambda value: json.dumps(value, default=str)))
@settings(max_examples=200)
def test_any_text_is_a_study_or_one_line(text: str) -> None:
    try:
        Study.from_json(text)
    except InputError as error:
        check_line(error)


WORDS = st.sampled_from(
    [*cli.COMMANDS, "--json", "--out", "--trials", "--steps", "--arms", "--learning-rate", "--dataset", "--seed", "x"]
) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.mark.slow
@given(st.lists(WORDS, max_size=5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_arguments_are_understood_or_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Parsing alone: nothing is run."""
    try:
        command = cli.parse(arguments)
    except InputError as error:
        check_line(error)
    except SystemExit as error:  # --help and the like
        check_success(error)
    else:
        assert callable(command)
    capsys.readouterr()


def check_success(exit: SystemExit) -> None:
    assert exit.code in (0, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@given(content=st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_called_npz_are_refused_in_one_line(folder: Path, content: bytes) -> None:
    from jaxinv.data import load_dataset

    path = folder / "any.npz"
    path.write_bytes(content)
    with pytest.raises((InputError, DataError)) as caught:
        load_dataset(str(path))
    check_line(caught.value)
    assert path.read_bytes() == content


@given(content=st.binary(max_size=200))
@settings(max_examples=60)
def test_any_bytes_called_study_are_refused_and_left_alone(folder: Path, content: bytes) -> None:
    from jaxinv import store

    run = folder / "run"
    run.mkdir(exist_ok=True)
    (run / "study.json").write_bytes(content)
    for attempt in (lambda: store.load(run), lambda: store.check_can_hold(run, Study())):
        with pytest.raises((InputError, DataError)) as caught:
            attempt()
        check_line(caught.value)
    assert (run / "study.json").read_bytes() == content


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "a\0b", "tfds:../x", "tfds:/etc/passwd", "tfds:a\0b", "~x.npz", ""]
)
def test_names_do_not_reach_outside(name: str) -> None:
    from jaxinv.data import load_dataset

    with pytest.raises((InputError, DataError)) as caught:
        load_dataset(Study(dataset=name).dataset)  # pyright: ignore[reportArgumentType]
    check_line(caught.value)


def test_a_compile_cache_that_others_can_write_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from jaxinv.engine import setup

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert setup.cache_folder() == tmp_path / "jaxinv" / "programs"
    (tmp_path / "jaxinv" / "programs").chmod(0o777)
    assert setup.cache_folder() is None
    assert "can be written by others" in capsys.readouterr().err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    assert setup.cache_folder() is None
    assert "no compile cache" in capsys.readouterr().err
