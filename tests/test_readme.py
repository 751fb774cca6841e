"""README and documentation: every block runs, every table is the program's own. (Sphinx runs the other cells.)"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import jaxinv as ji
from jaxinv import registry
from jaxinv.engine import trial_runner
from jaxinv.experiments.claims.running import CLAIMS
from tests.datasets import tiny

pytestmark = pytest.mark.optimized

ROOT = Path(__file__).parents[1]
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}


def blocks(path: str, language: str) -> list[str]:
    """The code in a page, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[ROOT / path], re.MULTILINE | re.DOTALL)


PYTHON = blocks("README.md", "python")
WATCH = blocks("docs/howto/watch.md", "python")
OTHERS = ("tutorial", "howto/arm", "howto/many-machines", "howto/report", "howto/stop-early", "howto/stored-runs")
SHELL = {f"README {i}": code for i, code in enumerate(blocks("README.md", "bash")) if "pip install" not in code}
SHELL |= {page: "\n".join(blocks(f"docs/{page}.md", "bash")) for page in OTHERS}  # in one folder, in order

TRACKERS = ("wandb", "mlflow", "tensorboardX")


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The blocks have caches of their own, together."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp().parent / "blocks")}


@pytest.mark.slow
def test_python_blocks_run_in_order(tmp_path: Path, environment: dict[str, str]) -> None:
    for tracker in TRACKERS:
        shutil.copy(ROOT / "tests" / "trackers" / f"{tracker}.py", tmp_path)
    script = tmp_path / "readme.py"
    script.write_text("\n".join([*PYTHON, *WATCH]))
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, check=True, timeout=600)


@pytest.mark.slow
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
    (code,) = (code for code in WATCH if re.search(rf"^(import|from) {name}\b", code, re.MULTILINE))
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
@pytest.mark.parametrize("where", SHELL)
def test_shell_blocks_run(tmp_path: Path, environment: dict[str, str], where: str) -> None:
    done = subprocess.run(
        ["bash", "-euc", SHELL[where]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "names", [registry.PREPROCESSINGS, registry.MODELS, registry.DATASETS], ids=["arms", "models", "data"]
)
def test_tables_list_every_name_with_its_line(names: dict[str, str]) -> None:
    for name, line in names.items():
        assert any(f"| `{name}` | {line} |" in text for text in PAGES.values())


def test_the_answer_has_a_line_for_every_claim() -> None:
    for claim in CLAIMS.values():
        line = next(
            (
                line
                for line in PAGES[ROOT / "docs/claims.md"].splitlines()
                if line.startswith(f"| {claim.statement} | ")
            ),
            "",
        )
        assert line.count(" | ") == 3, claim.name
        assert line.split(" | ")[1].strip("*") in ("supported", "refuted", "inconclusive")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", PAGES[path]):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("module", [ji, ji.stats, ji.plots, ji.theory, ji.claims], ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module: ModuleType) -> None:
    reference = "\n".join(text for path, text in PAGES.items() if path.parent.name == "api")
    for name in module.__all__:
        if not isinstance(getattr(module, name), ModuleType):
            assert re.search(rf":: jaxinv(\.[\w.]+)?\.{name}$", reference, re.MULTILINE), name
