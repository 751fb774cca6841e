"""The oracle: softmax regression and dense networks by hand, in NumPy float64, written from the formulas alone."""

import numpy as np

AFFINE = {"raw": (1.0, 0.0), "normal": (1 / 255, 0.0), "inverted": (-1 / 255, 1.0), "signed": (2 / 255, -1.0)}


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def train_softmax(
    images: np.ndarray, labels: np.ndarray, batches: np.ndarray, arm: str, rate: float, classes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [D, C] and bias [C] after gradient descent on the given batches [S, B], from zero."""
    scale, offset = AFFINE[arm]
    x = images.reshape(len(images), -1).astype(np.float64) * scale + offset
    weight, bias = np.zeros((x.shape[1], classes)), np.zeros(classes)
    for batch in batches:
        error = softmax(x[batch] @ weight + bias) - np.eye(classes)[labels[batch]]
        weight -= rate * x[batch].T @ error / len(batch)
        bias -= rate * error.mean(axis=0)
    return weight, bias


def evaluate_softmax(
    images: np.ndarray, labels: np.ndarray, arm: str, weight: np.ndarray, bias: np.ndarray
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy."""
    scale, offset = AFFINE[arm]
    p = softmax((images.reshape(len(images), -1) * scale + offset) @ weight + bias)
    return float((p.argmax(axis=1) == labels).mean()), float(-np.log(p[np.arange(len(p)), labels]).mean())


def gradients(layers: list, x: np.ndarray, labels: np.ndarray, loss: str) -> list:
    """Of the mean loss of inputs [B, D], by layers (weights [outputs, inputs], bias [outputs]) with ReLU between."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0))
    logits = inputs[-1] @ layers[-1][0].T + layers[-1][1]
    target = np.eye(logits.shape[1])[labels]
    back = (softmax(logits) - target if loss == "cross_entropy" else 2 * (logits - target)) / len(x)
    found = []
    for (weight, _), read in zip(reversed(layers), reversed(inputs), strict=True):
        found.append((back.T @ read, back.sum(axis=0)))
        back = (back @ weight) * (read > 0)
    return found[::-1]


def train(
    batches: list, layers: list, rate: float, loss: str = "cross_entropy", eps: float | None = None
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """The layers after each of some batches (inputs [B, D], labels [B]).

    By gradient descent, or by Adam (b1 = 0.9, b2 = 0.999) where `eps` is given.
    """
    layers = [tuple(np.asarray(part, np.float64) for part in layer) for layer in layers]
    means = squares = [tuple(np.zeros_like(part) for part in layer) for layer in layers]
    after = []
    for step, (x, labels) in enumerate(batches, 1):
        gradient = gradients(layers, np.asarray(x, np.float64), labels, loss)
        means = _moving(means, gradient, 0.9, 1)
        squares = _moving(squares, gradient, 0.999, 2)
        layers = [
            tuple(
                part - rate * (g if eps is None else m / (1 - 0.9**step) / (np.sqrt(s / (1 - 0.999**step)) + eps))
                for part, g, m, s in zip(*four, strict=True)
            )
            for four in zip(layers, gradient, means, squares, strict=True)
        ]
        after.append(layers)
    return after


def _moving(before: list, gradient: list, keep: float, power: int) -> list:
    return [
        tuple(keep * b + (1 - keep) * g**power for b, g in zip(*two, strict=True))
        for two in zip(before, gradient, strict=True)
    ]


def evaluate(layers: list, x: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Accuracy and mean cross-entropy on inputs [M, D]."""
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight.T + bias, 0)
    p = softmax(x @ layers[-1][0].T + layers[-1][1])
    return float((p.argmax(axis=1) == labels).mean()), float(-np.log(p[np.arange(len(p)), labels]).mean())
