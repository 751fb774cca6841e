"""The oracle: softmax regression and MLPs by hand, in NumPy float64, written from the formulas alone."""

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


def train_mlp(
    images: np.ndarray, labels: np.ndarray, batches: np.ndarray, arm: str, rate: float, layers: list[tuple]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Layers (weights [outputs, inputs], bias) with ReLU between them, after gradient descent on batches [S, B]."""
    scale, offset = AFFINE[arm]
    x = images.reshape(len(images), -1).astype(np.float64) * scale + offset
    layers = [(np.asarray(weight, np.float64), np.asarray(bias, np.float64)) for weight, bias in layers]
    for batch in batches:
        inputs = [x[batch]]
        for weight, bias in layers:
            inputs.append(np.maximum(inputs[-1] @ weight.T + bias, 0))
        weight, bias = layers[-1]
        back = (softmax(inputs[-2] @ weight.T + bias) - np.eye(len(bias))[labels[batch]]) / len(batch)
        moved = []
        for (weight, bias), read in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            moved.append((weight - rate * back.T @ read, bias - rate * back.sum(axis=0)))
            back = (back @ weight) * (read > 0)
        layers = moved[::-1]
    return layers
