"""Every test runs on four CPU devices and under strict JAX: no silent rank promotion, warnings are errors."""

import logging
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

from jaxinv.engine import program
from jaxinv.engine.program import ProgramSpec
from jaxinv.engine.setup import cores
from jaxinv.training.inputs import Data

jax.config.update("jax_platforms", "cpu")  # also where there is something else, or a plugin for what is not there
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.devices()  # in use from here on: a command that a test calls would choose another number of them

# A busy machine is no failure, and everybody meets the same examples; `--hypothesis-profile explore` meets others.
settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("patient")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes about a second or more")
    config.addinivalue_line("markers", "optimized: a module whose programs are compiled as users have them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples in the docstrings of what trains and stores are slow."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.path.parent.name in ("engine", "store"):
            item.add_marker(pytest.mark.slow)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: a worker for each core where folders are asked for; none for a few files, which are sooner done."""
    folders = all(Path(argument).is_dir() for argument in config.args)
    return min(cores(), 8) if folders else 0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of data that may lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no data beside the checkout")
    return SHARED


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs are compiled with few of XLA's optimizations, in processes that tests start too, and kept for a module.

    To compile is what takes time. What programs compute is tested as users run it, by modules that are marked
    `optimized`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "_programs", {})
        optimized = request.node.get_closest_marker("optimized") is not None
        if not optimized:
            patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", not optimized)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", False)
            jax.clear_caches()  # else processes grow to gigabytes


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[ProgramSpec]:
    """What programs were compiled from the beginning of the test on."""
    specs = []

    class Noted(program.Program):
        def __init__(self, spec: ProgramSpec, data: Data) -> None:
            specs.append(spec)
            super().__init__(spec, data)

    monkeypatch.setattr(program, "Program", Noted)
    return specs


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """The command line, which owns its process, sets levels; no test has those of another, nor of a fixture."""
    logger = logging.getLogger("jaxinv")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)
