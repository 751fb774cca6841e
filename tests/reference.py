"""The oracle: softmax regression by hand, in NumPy float64, written from the formulas alone."""

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
