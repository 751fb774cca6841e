"""What users would write instead of jaxinv: each peer a small module, written as well as its users would write it.

Every module has `prepare(job, ...)`. It may convert data and weights to its library's types, which is not timed, and
returns a function of no arguments that trains the whole job from the start and returns test accuracies, NumPy [A, T],
when all is done.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.jobs import Job

Run = Callable[[], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to do a job."""

    name: str
    title: str
    module: str
    models: tuple[str, ...]
    needs: str = "numpy"
    options: dict[str, object] = field(default_factory=dict)

    @property
    def missing(self) -> str | None:
        """Why the peer cannot take part on this machine, or None."""
        return None if importlib.util.find_spec(self.needs) else f"{self.needs} is not installed"

    def prepare(self, job: Job) -> Run:
        """The peer, ready to run the job."""
        return importlib.import_module(f"benchmarks.peers.{self.module}").prepare(job, **self.options)


_LAYOUTS = {"torch_eager": "contiguous", "torch_channels_last": "channels_last"}

PEERS = (
    Peer(name="numpy_loop", title="NumPy loop", module="numpy_loop", models=("softmax",)),
    Peer(
        name="torch_eager", title="PyTorch eager loop", module="torch_eager", models=("softmax", "mlp"), needs="torch"
    ),
    *(
        Peer(
            name=name,
            title=f"PyTorch eager, {layout}",
            module="torch_eager",
            models=("cnn",),
            needs="torch",
            options={"layout": layout},
        )
        for name, layout in _LAYOUTS.items()
    ),
    Peer(name="torch_bmm", title="torch.bmm by hand", module="torch_bmm", models=("softmax",), needs="torch"),
    Peer(name="torch_vmap", title="torch.func.vmap", module="torch_vmap", models=("softmax", "mlp"), needs="torch"),
    Peer(name="jax_vmap", title="plain jit(vmap) per arm", module="jax_vmap", models=("softmax", "mlp"), needs="jax"),
    Peer(name="flax_vmap", title="naive jit(vmap(scan)), flax Conv", module="flax_vmap", models=("cnn",), needs="flax"),
)


_NETWORKS = ("softmax", "mlp", "cnn")

#: Further ones, on an accelerator: what takes the launches away, or lets a compiler at them.
ACCELERATOR_PEERS = (
    Peer(name="torch_vmap", title="torch.func.vmap", module="torch_vmap", models=("cnn",), needs="torch"),
    Peer(
        name="torch_compile",
        title="torch.compile of vmap",
        module="torch_vmap",
        models=_NETWORKS,
        needs="torch",
        options={"how": "compiled"},
    ),
    Peer(
        name="torch_graph",
        title="vmap as a CUDA graph",
        module="torch_vmap",
        models=_NETWORKS,
        needs="torch",
        options={"how": "graph"},
    ),
)


def peers_of(model: str, *, accelerator: bool = False) -> tuple[Peer, ...]:
    """The peers that do jobs with this model."""
    return tuple(peer for peer in PEERS + (ACCELERATOR_PEERS if accelerator else ()) if model in peer.models)
