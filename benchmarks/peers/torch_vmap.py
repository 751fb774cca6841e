"""Many trials at once by `torch.func`: an ordinary module, `grad` of its loss, `vmap` over trials."""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.func import functional_call, grad, vmap  # pyright: ignore[reportMissingImports]
from torch.nn.functional import cross_entropy  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import Job
from benchmarks.peers import Run
from benchmarks.peers.torch_networks import DEVICE, Data, data, network, starting_weights

CHUNK = 20  # trials at a time; 10 and 20 were alike on a busy machine

Parameters = dict[str, torch.Tensor]


def prepare(job: Job) -> Run:
    arms = [data(job, arm) for arm in job.arms]
    trials = [starting_weights(job, trial) for trial in range(job.trials)]
    starts = {name: torch.stack([trial[name] for trial in trials]).to(DEVICE) for name in trials[0]}
    model = network(job)

    def loss(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(model, parameters, (x,)), y)

    def accuracy(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (functional_call(model, parameters, (x,)).argmax(dim=-1) == y).float().mean()

    gradients = vmap(grad(loss))
    accuracies = vmap(accuracy, in_dims=(0, None, None))

    def train(arm: Data, trials: slice) -> torch.Tensor:
        batches = arm.batches[trials]
        parameters = {name: start[trials] for name, start in starts.items()}
        for step in range(job.steps):
            batch = batches[:, step]
            gradient = gradients(parameters, arm.x_train[batch], arm.y_train[batch])
            parameters = {name: p - job.learning_rate * gradient[name] for name, p in parameters.items()}
        return accuracies(parameters, arm.x_test, arm.y_test)

    def run() -> np.ndarray:
        chunks = [slice(start, start + CHUNK) for start in range(0, job.trials, CHUNK)]
        with torch.no_grad():
            return torch.stack([torch.cat([train(arm, trials) for trials in chunks]) for arm in arms]).cpu().numpy()

    return run
