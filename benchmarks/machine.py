"""The machine under a measurement: what it is, how busy others keep it, and its best matrix product."""

import importlib.util
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jaxinv", "jax", "jaxlib", "flax", "numpy", "torch")
SIZES = (1024, 2048)  # n of the n×n×n products that stand for what the machine can do


def describe() -> dict[str, Any]:
    """When, on what, and with which versions a benchmark ran, for its JSON."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    return {"when": when, "machine": machine(), "versions": versions()}


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, load, and the devices or threads that JAX and PyTorch use."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }
    import jax

    facts["jax_devices"] = [f"{device.platform}: {device.device_kind}" for device in jax.local_devices()]
    if importlib.util.find_spec("torch"):
        import torch  # pyright: ignore[reportMissingImports]

        cuda = torch.cuda.is_available()
        facts["torch"] = torch.cuda.get_device_name() if cuda else f"cpu: {torch.get_num_threads()} threads"
    return facts


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that take part; None for one that is not installed. `commit` is the checkout's."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found | {"commit": _commit()}


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_seconds() -> float:
    """Processor time that this machine's processes have had, and its host has taken away; NaN where not told."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return np.nan
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields)
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


class Ceiling:
    """The best rate of float32 matrix products, by any library at hand; sampled between the contenders' runs."""

    def __init__(self, sizes: Iterable[int] = SIZES) -> None:
        libraries = {name: make for name, make in _PRODUCTS.items() if importlib.util.find_spec(name)}
        self._multiply = {f"{name} {n}": (n, make(n)) for n in sizes for name, make in libraries.items()}
        self.gflops: dict[str, list[float]] = {name: [] for name in self._multiply}
        for _, multiply in self._multiply.values():
            multiply()

    def sample(self) -> None:
        """One more sample of each product: the fastest of a few in a row, since a single one is over very soon."""
        for name, (n, multiply) in self._multiply.items():
            seconds = []
            for _ in range(max(3, min(30, round(3e10 / (2 * n**3))))):
                start = time.perf_counter()
                multiply()
                seconds.append(time.perf_counter() - start)
            self.gflops[name].append(2 * n**3 / min(seconds) / 1e9)

    @property
    def best(self) -> float:
        """GFLOP/s."""
        return max(max(samples) for samples in self.gflops.values())


def _numpy_product(n: int) -> Callable[[], object]:
    a = np.random.default_rng(0).random((n, n), np.float32)
    return lambda: a @ a


def _torch_product(n: int) -> Callable[[], object]:
    import torch  # pyright: ignore[reportMissingImports]

    a = torch.rand(n, n, device="cuda" if torch.cuda.is_available() else "cpu")
    return lambda: (a @ a)[0, 0].item()  # which waits for it


def _jax_product(n: int) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    a = jax.random.uniform(jax.random.key(0), (n, n))
    multiply = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    return lambda: multiply(a).block_until_ready()


_PRODUCTS = {"numpy": _numpy_product, "torch": _torch_product, "jax": _jax_product}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _commit() -> str | None:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return done.stdout.strip() or None
