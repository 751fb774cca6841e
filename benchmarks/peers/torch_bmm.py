"""Softmax regression for many trials at once in PyTorch: batched products, the gradient by hand."""

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn.functional import one_hot  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import Job
from benchmarks.peers import Run
from benchmarks.peers.torch_networks import DEVICE, Data, data

CHUNK = 20  # trials at a time; 10 and 20 were alike on a busy machine


def prepare(job: Job) -> Run:
    arms = [data(job, arm) for arm in job.arms]
    targets = one_hot(arms[0].y_train, job.classes).float()

    def run() -> np.ndarray:
        chunks = [slice(start, start + CHUNK) for start in range(0, job.trials, CHUNK)]
        return (
            torch.stack([torch.cat([train(job, arm, targets, trials) for trials in chunks]) for arm in arms])
            .cpu()
            .numpy()
        )

    return run


def train(job: Job, arm: Data, targets: torch.Tensor, trials: slice) -> torch.Tensor:
    """The test accuracies [T] of some trials."""
    batches = arm.batches[trials]
    count, inputs = len(batches), arm.x_train.shape[1]
    weight = torch.zeros(count, job.classes, inputs, device=DEVICE)
    bias = torch.zeros(count, 1, job.classes, device=DEVICE)
    for step in range(job.steps):
        batch = batches[:, step]
        x = arm.x_train[batch]  # [T, B, D]
        p = torch.baddbmm(bias, x, weight.mT).softmax(dim=-1)
        gradient = (p - targets[batch]) / job.batch_size
        weight.baddbmm_(gradient.mT, x, alpha=-job.learning_rate)
        bias -= job.learning_rate * gradient.sum(dim=1, keepdim=True)
    logits = (arm.x_test @ weight.flatten(0, 1).T).unflatten(1, (count, job.classes)) + bias[:, 0]
    return (logits.argmax(dim=-1) == arm.y_test[:, None]).float().mean(dim=0)
