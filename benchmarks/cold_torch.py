"""The published job as a PyTorch user's script: `python cold_torch.py job.npz`, for timing from start to exit.

It reads the images as uint8 from an uncompressed file, which is quicker than any way in which MNIST is usually had.
"""

import sys

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn.functional import cross_entropy  # pyright: ignore[reportMissingImports]


def main(path: str) -> None:
    with np.load(path) as arrays:
        x_train, x_test = (torch.from_numpy(arrays[name]).flatten(1).float() / 255 for name in ("x_train", "x_test"))
        y_train, y_test, batches = (torch.from_numpy(arrays[name]).long() for name in ("y_train", "y_test", "batches"))
    for arm, train, test in (("normal", x_train, x_test), ("inverted", 1 - x_train, 1 - x_test)):
        accuracies = [trial(train, y_train, test, y_test, order) for order in batches]
        print(f"{arm}: mean accuracy {np.mean(accuracies):.5f} of {len(accuracies)} trials")


def trial(x: torch.Tensor, y: torch.Tensor, x_test: torch.Tensor, y_test: torch.Tensor, batches: torch.Tensor) -> float:
    model = torch.nn.Linear(x.shape[1], 10)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for batch in batches:
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(x_test).argmax(dim=1) == y_test).float().mean().item()


if __name__ == "__main__":
    main(sys.argv[1])
