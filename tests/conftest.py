"""Every test runs on four CPU devices and under strict JAX: no silent rank promotion, warnings are errors."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of data that may lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no data beside the checkout")
    return SHARED
