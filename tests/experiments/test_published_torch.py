"""Two published experiments, short, beside independent PyTorch programs: the same distribution of accuracies."""

from typing import Any

import numpy as np
import pytest

import jaxinv as ji

SEEDS = 6


def trained(
    data: ji.Dataset, units: int, activation: str, optimizer: str, rate: float, batch: int, steps: int, *, scaled: bool
) -> np.ndarray:
    """Test accuracies of a few networks, as one writes them in PyTorch, with Keras's initial weights."""
    torch: Any = pytest.importorskip("torch")
    torch.set_num_threads(1)
    scale = 1 / 255 if scaled else 1.0
    x, x_test = (torch.tensor(a.reshape(len(a), -1).astype(np.float32) * scale) for a in (data.x_train, data.x_test))
    y, y_test = (torch.tensor(a.astype(np.int64)) for a in (data.y_train, data.y_test))
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        hidden, last = torch.nn.Linear(x.shape[1], units), torch.nn.Linear(units, data.classes)
        for layer in (hidden, last):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        network = torch.nn.Sequential(hidden, getattr(torch.nn, activation)(), last)
        made = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](network.parameters(), lr=rate)
        order = torch.cat([torch.randperm(len(x)) for _ in range(-(-batch * steps // len(x)))])
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            made.zero_grad()
            torch.nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            made.step()
        with torch.no_grad():
            found.append((network(x_test).argmax(1) == y_test).double().mean().item())
    return np.array(found)


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Means that differ by no more than four standard errors, and spreads within a factor of four."""
    error = np.hypot(ours.std(ddof=1) / len(ours) ** 0.5, theirs.std(ddof=1) / len(theirs) ** 0.5)
    assert abs(ours.mean() - theirs.mean()) < 4 * error + 0.002, (ours, theirs)
    assert 1 / 4 < (ours.std(ddof=1) + 1e-4) / (theirs.std(ddof=1) + 1e-4) < 4


@pytest.mark.slow
@pytest.mark.parametrize("preprocess", ["raw", "normal"])
def test_scaling_hurts_a_sigmoid_network_in_pytorch_too(preprocess: str):
    data = ji.load_dataset("mnist")
    how = {"model": "mlp_sigmoid:400", "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 100, "steps": 300}
    ours = ji.run(ji.Study(arms=(preprocess,), trials=SEEDS, **how)).accuracy.values.ravel().astype(np.float64)
    agree(ours, trained(data, 400, "Sigmoid", "sgd", 0.01, 100, 300, scaled=preprocess == "normal"))
    assert (ours.mean() > 0.8) == (preprocess == "raw")


@pytest.mark.slow
@pytest.mark.parametrize("preprocess", ["raw", "normal"])
def test_unscaled_pixels_teach_a_relu_network_in_pytorch_too(preprocess: str, shared_data: Any):
    path = shared_data / "fashion-mnist.npz"
    if not path.exists():
        pytest.skip("no Fashion-MNIST beside the checkout")
    how = {"model": "mlp_glorot", "optimizer": "adam", "learning_rate": 1e-3, "batch_size": 32, "steps": 300}
    study = ji.Study(dataset=str(path), arms=(preprocess,), trials=SEEDS, **how)
    ours = ji.run(study).accuracy.values.ravel().astype(np.float64)
    agree(ours, trained(ji.load_dataset(str(path)), 128, "ReLU", "adam", 1e-3, 32, 300, scaled=preprocess == "normal"))
