"""Softmax regression in NumPy: one trial after the other, float32, products by the BLAS that NumPy came with."""

import numpy as np

from benchmarks.jobs import Job
from benchmarks.peers import Run


def prepare(job: Job) -> Run:
    arms = [[x.reshape(len(x), -1) for x in job.pixels(arm)] for arm in job.arms]
    return lambda: np.array([[train(job, x, x_test, batches) for batches in job.batches] for x, x_test in arms])


def train(job: Job, x_train: np.ndarray, x_test: np.ndarray, batches: np.ndarray) -> float:
    """One trial's test accuracy; images [N, D], batches [S, B]."""
    weight = np.zeros((x_train.shape[1], job.classes), np.float32)
    bias = np.zeros(job.classes, np.float32)
    rows = np.arange(job.batch_size)
    rate = np.float32(job.learning_rate / job.batch_size)
    for batch in batches:
        x = x_train[batch]
        p = x @ weight + bias
        p -= p.max(axis=1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        p[rows, job.y_train[batch]] -= 1  # the gradient of the cross-entropy in the logits
        p *= rate
        weight -= x.T @ p
        bias -= p.sum(axis=0)
    return float(np.mean((x_test @ weight + bias).argmax(axis=1) == job.y_test))
