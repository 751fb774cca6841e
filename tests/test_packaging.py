"""What the project says of itself in several places is the same in all of them."""

import re
import tomllib
from pathlib import Path

import jaxinv

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one() -> None:
    assert jaxinv.__version__ == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_oldest_versions_tried_are_the_oldest_admitted() -> None:
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    admitted = dict(line.split(">=") for line in needed if not line.startswith(("ruff", "basedpyright")))
    tried = dict(re.findall(r"^([\w-]+)==([0-9.]+)$", (ROOT / ".ci" / "oldest.txt").read_text(), re.MULTILINE))
    assert tried.pop("jaxlib") == tried["jax"]
    assert set(tried) == set(admitted)
    for name, version in tried.items():
        assert [*version.split("."), "0", "0"][:3] == [*admitted[name].split("."), "0", "0"][:3], name
