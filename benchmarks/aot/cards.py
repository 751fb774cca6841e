"""The accelerators that programs are compiled for: what they are to the compiler, and how fast they can be."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

HOPPER = """\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  device_vendor: "NVIDIA Corporation"
  platform_version: "Compute Capability 9.0a"
  device_address_bits: 64
  pcie_bandwidth: 34359738368
  ecc_enabled: true
  name: "{name}"
  driver_version: "13.0.0"
  runtime_version: "12.9.0"
  compile_time_toolkit_version: "12.9.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""


@dataclass(frozen=True, kw_only=True)
class Card:
    """An accelerator, by its maker's figures.

    Attributes:
      title: what tables call it; for a GPU, as the driver does.
      platform: "cuda" or "tpu".
      memory, bandwidth: bytes, and bytes a second.
      exact, fast: operations a second in products of float32, and as `precision="fast"` takes them.
      launch: seconds from one kernel's start to the next one's, at the least; none where a program is one sequence.
      kind: of a TPU, as `topology_name` has it.
    """

    title: str
    platform: str
    memory: int
    bandwidth: float
    exact: float
    fast: float
    launch: float = 0.0
    kind: str = ""


LAUNCH = 2e-6  # of a kernel in a CUDA graph, which command buffers are; measure it when a card is at hand
PASSES = 6  # products of bfloat16 that a TPU makes one of float32 of

CARDS = {
    "h100": Card(
        title="NVIDIA H100 80GB HBM3",
        platform="cuda",
        memory=84_942_979_072,
        bandwidth=3.35e12,
        exact=66.9e12,
        fast=494e12,
        launch=LAUNCH,
    ),
    "h200": Card(
        title="NVIDIA H200 141GB HBM3e",
        platform="cuda",
        memory=151_397_597_184,
        bandwidth=4.8e12,
        exact=66.9e12,
        fast=494e12,
        launch=LAUNCH,
    ),
    "v5e": Card(
        title="TPU v5e", platform="tpu", memory=16 << 30, bandwidth=0.819e12, exact=197e12 / PASSES, fast=197e12,
        kind="v5e",
    ),
    "v6e": Card(
        title="TPU v6e", platform="tpu", memory=32 << 30, bandwidth=1.64e12, exact=918e12 / PASSES, fast=918e12,
        kind="v6e",
    ),
}  # fmt: skip

PLUGINS = {"cuda": "jax_plugins.xla_cuda12", "tpu": "libtpu"}
TPU_HOST = {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost"}


def missing(card: Card) -> str | None:
    """Why nothing can be compiled for a card here, or None."""
    plugin = PLUGINS[card.platform]
    top = plugin.split(".")[0]
    there = find_spec(top) is not None and find_spec(plugin) is not None
    return None if there else f"{plugin} is not installed (pip install '.[aot]')"


def devices(card: Card, count: int = 1) -> tuple[Any, ...]:
    """So many devices of a machine that is not there, for JAX to compile for."""
    from jax.experimental import topologies

    if card.platform == "cuda":
        config = HOPPER.format(name=card.title, memory=card.memory, bandwidth=int(card.bandwidth))
        made = topologies.get_topology_desc(platform="cuda", target_config=config, topology=f"1x1x{count}")
    else:
        for name, value in TPU_HOST.items():
            os.environ.setdefault(name, value)
        side = {1: "2x2", 4: "2x2", 8: "2x4", 256: "16x16"}[count]
        made = topologies.get_topology_desc(platform="tpu", topology_name=f"{card.kind}:{side}")
    return tuple(made.devices[:count])
