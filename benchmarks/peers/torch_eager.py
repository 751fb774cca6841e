"""The loop that a PyTorch user writes: nn.Module, cross_entropy, backward, torch.optim.SGD; trial after trial."""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn.functional import cross_entropy  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import Job
from benchmarks.peers import Run
from benchmarks.peers.torch_networks import Data, data, network, starting_weights

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TEST_BATCH = 1000  # of a convnet, whose feature maps of all test images would not fit into any cache


def prepare(job: Job, layout: str = "contiguous") -> Run:
    arms = [data(job, arm, LAYOUTS[layout]) for arm in job.arms]
    starts = [starting_weights(job, trial) for trial in range(job.trials)]

    def run() -> np.ndarray:
        return np.array([[train(job, arm, trial, start, layout) for trial, start in enumerate(starts)] for arm in arms])

    return run


def train(job: Job, arm: Data, trial: int, start: dict[str, torch.Tensor], layout: str) -> float:
    """One trial's test accuracy."""
    model = network(job)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=job.learning_rate)
    for batch in arm.batches[trial]:
        optimizer.zero_grad()
        cross_entropy(model(arm.x_train[batch]), arm.y_train[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        size = TEST_BATCH if job.model == "cnn" else len(arm.x_test)
        predicted = torch.cat([model(x).argmax(dim=1) for x in arm.x_test.split(size)])
        return (predicted == arm.y_test).float().mean().item()
