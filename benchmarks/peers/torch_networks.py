"""The networks and the data of a job as PyTorch has them, for the peers that train them."""

from dataclasses import dataclass

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import CHANNELS, HIDDEN, Arm, Job

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Data:
    """One arm's data on the device: images float [N, D], or [N, K, H, W] for a convnet; labels and batches as int64."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    batches: torch.Tensor


def data(job: Job, arm: Arm, memory_format: torch.memory_format = torch.contiguous_format) -> Data:
    x_train, x_test = (torch.from_numpy(x) for x in job.pixels(arm))
    if job.model == "cnn":
        x_train, x_test = (x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format) for x in (x_train, x_test))
    else:
        x_train, x_test = x_train.flatten(1), x_test.flatten(1)
    labels = [torch.from_numpy(y.astype(np.int64)) for y in (job.y_train, job.y_test)]
    batches = torch.from_numpy(job.batches.astype(np.int64))
    tensors = (x_train, labels[0], x_test, labels[1], batches)
    return Data(*(tensor.to(DEVICE) for tensor in tensors))


def network(job: Job) -> nn.Module:
    """The job's network; its parameters have the names of the job's starting weights."""
    height, width, channels = job.image_shape
    if job.model == "softmax":
        return nn.Linear(height * width * channels, job.classes).to(DEVICE)
    if job.model == "mlp":
        return Mlp(height * width * channels, job.classes).to(DEVICE)
    return Cnn(job.image_shape, job.classes).to(DEVICE)


def starting_weights(job: Job, trial: int) -> dict[str, torch.Tensor]:
    """One trial's parameters at the start."""
    if job.model == "softmax":
        inputs = int(np.prod(job.image_shape))
        return {"weight": torch.zeros(job.classes, inputs), "bias": torch.zeros(job.classes)}
    return {name: torch.tensor(value[trial]) for name, value in job.initial.items()}


class Mlp(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, HIDDEN)
        self.last = nn.Linear(HIDDEN, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x).relu())


class Cnn(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        height, width, channels = image_shape
        one, two = CHANNELS
        self.first = nn.Conv2d(channels, one, 3, padding="same")
        self.second = nn.Conv2d(one, two, 3, padding="same")
        self.last = nn.Linear((height // 4) * (width // 4) * two, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.first(x), 2).relu()
        x = nn.functional.max_pool2d(self.second(x), 2).relu()
        return self.last(x.flatten(1))
