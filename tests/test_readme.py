"""The README: every block runs, every table is the program's own."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import registry
from jaxinv.engine import trial_runner
from jaxinv.experiments.claims.running import CLAIMS
from tests.datasets import tiny

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash" and "pip install" not in code]


TRACKERS = ("wandb", "mlflow", "tensorboardX")


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}


@pytest.mark.slow
def test_python_blocks_run_in_order(tmp_path: Path) -> None:
    for tracker in TRACKERS:
        shutil.copy(ROOT / "tests" / "trackers" / f"{tracker}.py", tmp_path)
    script = tmp_path / "readme.py"
    script.write_text("\n".join(PYTHON))
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environment(tmp_path), check=True, timeout=600)


@pytest.mark.parametrize("name", TRACKERS)
def test_trackers_are_told_every_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = importlib.import_module(f"tests.trackers.{name}")
    monkeypatch.setitem(sys.modules, name, tracker)
    monkeypatch.setattr(tracker, "LOGGED", [])
    study = ji.Study(
        dataset=tiny(),
        arms=("normal", "inverted+pixel_mean"),
        learning_rate=(0.1, 0.5),
        steps=4,
        batch_size=20,
        trials=7,
    )
    run = ji.run
    monkeypatch.setattr(ji, "run", lambda _, **options: run(study, chunk=2, **options))
    monkeypatch.setattr(trial_runner, "store_block_length", lambda *arguments: 2)
    (code,) = (code for code in PYTHON if re.search(rf"^(import|from) {name}\b", code, re.MULTILINE))
    names: dict[str, Any] = {"ji": ji, "study": study}
    exec(code, names)
    counts = np.diff([0, *(done for done, _ in tracker.LOGGED)])
    assert counts.tolist() == [2, 2, 2, 1]
    means = names["results"].accuracy.isel(step=-1).mean(["learning_rate", "trial"])
    for arm in study.arm_names:
        said = arm if name != "mlflow" else arm.replace("+", "_")
        told = [accuracies[said] for _, accuracies in tracker.LOGGED]
        assert np.average(told, weights=counts) == pytest.approx(means.sel(arm=arm).item(), abs=1e-6)
    if hasattr(tracker, "CONFIG"):
        assert tracker.CONFIG["optimizer"] == "sgd"


@pytest.mark.slow
@pytest.mark.parametrize("code", SHELL, ids=lambda code: code.split("\n")[0][:60])
def test_shell_blocks_run(tmp_path: Path, code: str) -> None:
    done = subprocess.run(
        ["bash", "-euc", code], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "names", [registry.PREPROCESSINGS, registry.MODELS, registry.DATASETS], ids=["arms", "models", "data"]
)
def test_tables_list_every_name_with_its_line(names: dict[str, str]) -> None:
    for name, line in names.items():
        assert f"| `{name}` | {line} |" in TEXT


def test_the_answer_has_a_line_for_every_claim() -> None:
    for claim in CLAIMS.values():
        line = next((line for line in TEXT.splitlines() if line.startswith(f"| {claim.statement} | ")), "")
        assert line.count(" | ") == 3, claim.name
        assert line.split(" | ")[1].strip("*") in ("supported", "refuted", "inconclusive")
