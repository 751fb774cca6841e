"""How fast this machine runs a study, by number of trials, and which part of the hardware's speed that is."""

import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from jaxinv.engine.devices import Device, Hardware, local_hardware
from jaxinv.engine.resolve import ResolvedStudy, resolve
from jaxinv.engine.trial_batch import flops
from jaxinv.engine.trial_runner import TrialRunner
from jaxinv.errors import InputError, first_line, whole
from jaxinv.study import Study
from jaxinv.utils import files
from jaxinv.utils.progress import Report, reporting
from jaxinv.utils.tables import text_table

PRODUCT = 2048  # rows and columns of the matrices whose product sets the ceiling for arithmetic
COPY_BYTES = 256 << 20
REPEATS = 5
ENOUGH_SECONDS = 4.0  # of samples; what takes long is repeated less often


def measure(
    study: Study,
    *,
    most: int = 1000,
    chunk: int | None = None,
    devices: int | None = None,
    data_dir: str | None = None,
    progress: Report | bool | None = None,
) -> dict[str, Any]:
    """Time a study with 1, 10, 100, … trials, up to `most`.

    Args:
      study: what to time; its own number of trials has no effect.
      most: the largest number of trials.
      chunk, devices, data_dir, progress: as for `jaxinv.run`.

    Raises:
      InputError: an option that makes no sense.
      DataError: the data cannot be had.

    Returns:
      `machine`; `ceilings`: the best rates measured here of a float32 matrix product (FLOP/s) and of a copy (bytes/s),
      all devices together; `job`: the arithmetic and the least traffic of one trial; `rows`: for each number of trials
      the seconds to compile, the median and all samples of the seconds to run, trials/s, and the shares of the two
      ceilings that these are; `plan`: the chunk and why; `peak_bytes`: of the process, and of the device if it tells.
    """
    most = whole("most", most)
    chosen = local_hardware(devices)
    counts = [count for count in (10**power for power in range(10)) if count < most] + [most]
    rows: list[dict[str, Any]] = []
    with reporting("measuring", progress, unit="sizes") as report:
        report(0, len(counts) + 1)
        ceilings = {"flops": product_rate(chosen), "bytes": copy_rate(chosen)}
        resolved = resolve(study, data_dir=data_dir)
        for done, count in enumerate(counts, 1):
            report(done, len(counts) + 1)
            rows.append(row(replace(resolved, study=study.replace(trials=count)), chosen, chunk, ceilings))
        report(len(counts) + 1, len(counts) + 1)
    stats = chosen.devices[0].memory_stats() or {}
    return {
        "study": study.to_dict(),
        "machine": machine(chosen),
        "ceilings": ceilings,
        "job": {"flops": flops(resolved), "bytes": least_bytes(resolved)},
        "rows": rows,
        "plan": rows[-1]["plan"],
        "peak_bytes": {
            "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "device": stats.get("peak_bytes_in_use"),
        },
    }


def row(resolved: ResolvedStudy, hardware: Hardware, chunk: int | None, ceilings: dict[str, float]) -> dict[str, Any]:
    """One number of trials: compile, run a few times, and compare with the ceilings."""
    trials = resolved.study.trials
    runner = TrialRunner(resolved, hardware, chunk)

    def once() -> None:
        for _ in runner.run([range(trials)]):
            pass

    once()  # compiles
    samples = sampled(once)
    seconds = median(samples)
    return {
        "trials": trials,
        "compile_seconds": runner.compile_seconds,
        "seconds": seconds,
        "samples": samples,
        "trials_per_second": trials / seconds,
        "flops_share": flops(resolved) * trials / seconds / ceilings["flops"],
        "bytes_share": least_bytes(resolved) * trials / seconds / ceilings["bytes"],
        "plan": runner.plan,
    }


def sampled(run: Callable[[], object]) -> list[float]:
    """Seconds of some repeats: five, or fewer of what takes long."""
    samples: list[float] = []
    while len(samples) < REPEATS and (len(samples) < 2 or sum(samples) < ENOUGH_SECONDS):
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return samples


def least_bytes(resolved: ResolvedStudy) -> float:
    """Bytes that one trial has to move: each batch once; in each update weights, gradient and new weights."""
    total = 0
    for group in resolved.groups:
        weights = sum(leaf.size * 4 for leaf in jax.tree.leaves(group.parameters))
        pixels = group.trial.batch_size * resolved.dataset.x_train[0].size
        total += group.trial.steps * (pixels + 3 * group.networks * weights)
    return float(total)


def product_rate(hardware: Hardware) -> float:
    """FLOP/s of the best float32 matrix product, on all cores or accelerators at once."""
    multiply = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    operands = [jax.device_put(jnp.ones((PRODUCT, PRODUCT)), device) for device in one_each(hardware)]
    return 2 * PRODUCT**3 * len(operands) / best(multiply, operands)


def copy_rate(hardware: Hardware) -> float:
    """Bytes/s read and written by the best copy, on all cores or accelerators at once."""
    copy = jax.jit(lambda a: a + 1)
    operands = [jax.device_put(jnp.zeros(COPY_BYTES // 4 // hardware.units), device) for device in one_each(hardware)]
    return 2 * COPY_BYTES / best(copy, operands)


def one_each(hardware: Hardware) -> Sequence[Device]:
    """The device of each core or accelerator."""
    return hardware.devices * hardware.calls if hardware.cpu else hardware.devices


def best(run: Callable[[Any], Any], operands: list[Any]) -> float:
    """Seconds of the fastest of some repeats, all operands under way together, each in a thread of its own."""
    with ThreadPoolExecutor(len(operands)) as pool:

        def once() -> None:
            list(pool.map(lambda operand: jax.block_until_ready(run(operand)), operands))

        once()
        return min(sampled(once) + sampled(once))


def machine(hardware: Hardware) -> dict[str, Any]:
    """The device, processor and versions that tell this machine from another."""
    return {
        "device": str(hardware),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def table(result: dict[str, Any], other: dict[str, Any] | None = None) -> str:
    """The result as text; with another machine's, how many times as fast this one is."""
    ceilings, theirs = result["ceilings"], {}
    if other is not None:
        theirs = {row["trials"]: row["trials_per_second"] for row in other["rows"]}
    head = ["trials", "compile", "run", "trials/s", "of FLOP/s", "of bytes/s"]
    rows = [head + (["times other"] if other else [])]
    for item in result["rows"]:
        cells = [
            f"{item['trials']:,}",
            f"{item['compile_seconds']:.2f} s",
            f"{item['seconds']:.4g} s",
            f"{item['trials_per_second']:,.0f}",
            f"{item['flops_share']:.1%}",
            f"{item['bytes_share']:.1%}",
        ]
        if other is not None:
            rate = theirs.get(item["trials"])
            cells.append("n/a" if rate is None else f"{item['trials_per_second'] / rate:.2f}")
        rows.append(cells)
    peak = result["peak_bytes"]
    return "\n".join(
        [
            f"{result['machine']['device']}, JAX {result['machine']['jax']}",
            f"ceilings: product {ceilings['flops'] / 1e9:,.0f} GFLOP/s, copy {ceilings['bytes'] / 1e9:,.1f} GB/s",
            f"one trial: {result['job']['flops'] / 1e9:.3g} GFLOP, at least {result['job']['bytes'] / 1e6:.3g} MB",
            "",
            text_table(rows),
            "",
            result["plan"],
            "peak memory: " + ", ".join(f"{who} {n / 2**20:,.0f} MiB" for who, n in peak.items() if n is not None),
        ]
    )


def read(path: str, study: Study) -> dict[str, Any]:
    """What `jaxinv bench --json` printed of the same study elsewhere.

    Raises:
      InputError: the file is not that.
    """
    try:
        result = json.loads(Path(path).read_text())
        theirs = {**result["study"], "trials": study.trials}
        speeds = [float(row["trials_per_second"]) for row in result["rows"] if isinstance(row["trials"], int)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise InputError(f"against: {path!r} cannot be used ({reason}); give a file that bench --json made") from None
    if not speeds or not all(0 < speed < math.inf for speed in speeds):
        raise InputError(f"against: {path!r} holds no speeds; give a file that bench --json made")
    ours = study.to_dict()
    different = [name for name in ours if theirs.get(name) != ours[name]]
    if different:
        raise InputError(f"against: {path!r} is of another study (other {', '.join(different)}); measure the same one")
    return result


def check_bench_folder(folder: str) -> None:
    """Make the folder for a result, unless it holds something else.

    Raises:
      InputError: it does, or it cannot be made.
    """
    names = {path.name for path in files.make_folder(folder).iterdir()}
    if names and "bench.json" not in names:
        raise InputError(
            f"out: {folder!r} holds something else; give a new or empty folder, or that of an earlier bench"
        )


def draw(result: dict[str, Any], folder: str) -> None:
    """`bench.json` and `bench.png`, trials/s against the number of trials, into a folder."""
    from jaxinv import plots

    out = files.make_folder(folder)
    trials = [row["trials"] for row in result["rows"]]
    ceiling = result["ceilings"]["flops"] / result["job"]["flops"]
    per_second = [row["trials_per_second"] for row in result["rows"]]
    title = f"{result['study']['model']} on {result['machine']['device']}"
    ax = plots.throughput(trials, per_second, ceiling, title)
    plots.save(ax, out / "bench.png")
    files.write_json(out / "bench.json", result)
