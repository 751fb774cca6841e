"""Every arm with every model, on grey and on RGB images, from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxinv import cli, registry
from tests.datasets import tiny

COMPOSED = ("inverted+pixel_mean", "lcn+channel_zscore")
COLOURS = {"softmax": ("grey", "rgb"), "mlp_bn": ("grey", "rgb"), "deep_mnist": ("grey",)}
"""Of the others RGB alone, since arms that work on channels differ from one another there alone."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "colour"), [(model, colour) for model in registry.MODELS for colour in COLOURS.get(model, ("rgb",))]
)
def test_every_arm_runs_with_every_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str, colour: str
) -> None:
    data = tiny(shape=(8, 8, 1 if colour == "grey" else 3))
    path = str(tmp_path / "tiny.npz")
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    arms = (*registry.PREPROCESSINGS, *COMPOSED)
    flags = ["--dataset", path, "--model", model, "--steps", "3", "--batch-size", "10", "--trials", "2"]
    rate = ["--learning-rate", "0.0001", "--devices", "1", "--quiet", "--no-cache", "--json"]
    assert cli.main(["run", *flags, "--arms", *arms, *rate]) == cli.DONE
    rows = json.loads(capsys.readouterr().out)["arms"]
    assert [row["arm"] for row in rows] == list(arms)
    for row in rows:
        assert row["trials"] == 2
        assert row["diverged"] == 0, row
        assert 0 <= row["accuracy"]["mean"] <= 1
    losses = {row["arm"]: row["test_loss"]["mean"] for row in rows}
    assert len({round(loss, 7) for loss in losses.values()}) > len(arms) / 2  # the arms do differ


@pytest.mark.slow
def test_real_rgb(capsys: pytest.CaptureFixture[str], shared_data: Path) -> None:
    path = shared_data / "cifar10-subset.npz"
    if not path.exists():
        pytest.skip("no RGB images beside the checkout")
    arms = ["channel_mean", "pixel_mean"]
    flags = ["--dataset", str(path), "--model", "cnn", "--optimizer", "adam", "--learning-rate", "0.003"]
    assert cli.main(["run", *flags, "--arms", *arms, "--steps", "40", "--trials", "1", "--quiet", "--json"]) == cli.DONE
    for row in json.loads(capsys.readouterr().out)["arms"]:
        assert row["accuracy"]["mean"] > 0.15
