"""The README: every block runs, every table is the program's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxinv import registry
from jaxinv.experiments.claims.running import CLAIMS

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "bash" and "pip install" not in code]


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}


@pytest.mark.slow
def test_python_blocks_run_in_order(tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join(PYTHON))
    subprocess.run([sys.executable, script], cwd=tmp_path, env=environment(tmp_path), check=True, timeout=300)


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
