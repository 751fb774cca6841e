"""Many trials at once by `torch.func`: an ordinary module, `grad` of its loss, `vmap` over trials.

As it is; each update compiled by `torch.compile`; or, on a GPU, replayed as a CUDA graph, which spares the launches.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.func import functional_call, grad, vmap  # pyright: ignore[reportMissingImports]
from torch.nn.functional import cross_entropy  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import Job
from benchmarks.peers import Run
from benchmarks.peers.torch_networks import DEVICE, Data, data, network, starting_weights

CHUNK = 20 if DEVICE.type == "cpu" else 1000  # trials at a time; 10 and 20 were alike on a busy processor
TEST_BATCH = 1000  # of a convnet, whose feature maps of all trials and test images would take tens of gigabytes

Parameters = dict[str, torch.Tensor]
Update = Callable[[Parameters, torch.Tensor, torch.Tensor, torch.Tensor], Parameters]


def prepare(job: Job, how: Literal["eager", "compiled", "graph"] = "eager") -> Run:
    arms = [data(job, arm) for arm in job.arms]
    trials = [starting_weights(job, trial) for trial in range(job.trials)]
    starts = {name: torch.stack([trial[name] for trial in trials]).to(DEVICE) for name in trials[0]}
    model = network(job)

    def loss(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(model, parameters, (x,)), y)

    def hits(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (functional_call(model, parameters, (x,)).argmax(dim=-1) == y).float().sum()

    gradients = vmap(grad(loss))
    count = vmap(hits, in_dims=(0, None, None))

    def update(parameters: Parameters, x: torch.Tensor, y: torch.Tensor, batch: torch.Tensor) -> Parameters:
        gradient = gradients(parameters, x[batch], y[batch])
        return {name: p - job.learning_rate * gradient[name] for name, p in parameters.items()}

    step = torch.compile(update) if how == "compiled" else update
    graphs: dict[tuple[int, int], Update] = {}

    def train(arm: Data, trials: slice) -> torch.Tensor:
        batches = arm.batches[trials]
        parameters = {name: start[trials] for name, start in starts.items()}
        one = step
        if how == "graph":
            key = id(arm), len(batches)
            if key not in graphs:
                graphs[key] = captured(update, parameters, arm, batches[:, 0])
            one = graphs[key]
        for number in range(job.steps):
            parameters = one(parameters, arm.x_train, arm.y_train, batches[:, number])
        size = TEST_BATCH if job.model == "cnn" else len(arm.x_test)
        tiles = zip(arm.x_test.split(size), arm.y_test.split(size), strict=True)
        return torch.stack([count(parameters, x, y) for x, y in tiles]).sum(dim=0) / len(arm.x_test)

    def run() -> np.ndarray:
        chunks = [slice(start, start + CHUNK) for start in range(0, job.trials, CHUNK)]
        with torch.no_grad():
            return torch.stack([torch.cat([train(arm, trials) for trials in chunks]) for arm in arms]).cpu().numpy()

    return run


def captured(update: Update, parameters: Parameters, arm: Data, batch: torch.Tensor) -> Update:
    """An update as a CUDA graph, which reads and writes always the same memory."""
    held = {name: value.clone() for name, value in parameters.items()}
    rows = batch.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries make their workspaces before anything is captured
        for _ in range(3):
            update(held, arm.x_train, arm.y_train, rows)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for name, value in update(held, arm.x_train, arm.y_train, rows).items():
            held[name].copy_(value)

    def replay(parameters: Parameters, x: torch.Tensor, y: torch.Tensor, batch: torch.Tensor) -> Parameters:
        if parameters is not held:
            for name, value in parameters.items():
                held[name].copy_(value)
        rows.copy_(batch)
        graph.replay()
        return held

    return replay
