"""The order of the modules: each imports only from those before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxinv

ROOT = Path(jaxinv.__file__).parent
ORDER = [
    "errors",
    "registry",
    "utils",
    "fields",
    "arm",
    "study",
    "data",
    "preprocess",
    "models",
    "training",
    "results",
    "store",
    "stats",
    "engine",
    "theory",
    "plots",
    "report",
    "experiments",
    "bench",
    "cli",
    "__main__",
]


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path: Path) -> set[str]:
    """Names of jaxinv's own modules that a file imports, anywhere but under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "jaxinv"
                else [node.module or ""]
            )
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("jaxinv.")}
    return found


def place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = place(path)
    later = {name for name in imported(path) - {here} if ORDER.index(name) > ORDER.index(here)}
    assert not later, f"{here} imports {later}, which stand after it in {ORDER}"


def test_every_module_has_a_place() -> None:
    assert {place(path) for path in modules()} <= set(ORDER)


def test_importing_the_package_and_the_command_line_loads_no_jax() -> None:
    code = "import jaxinv, jaxinv.cli, sys; assert not {'jax', 'scipy', 'flax', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_facade_offers_what_it_names() -> None:
    assert set(jaxinv.__all__) == set(jaxinv._HOME)
    for name in jaxinv.__all__:
        assert getattr(jaxinv, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jaxinv.nothing  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
