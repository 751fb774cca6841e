"""What a page can say of a study's dataset: nothing is fetched for it, and another dataset is never taken for it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxinv.errors import DataError, InputError

if TYPE_CHECKING:
    import xarray as xr

    from jaxinv.data import Dataset


class Datasets:
    """The datasets of stored results, as far as they are on this machine; each is read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[Any, ...], Dataset | None] = {}
        self._bounds: dict[tuple[str, str, str], float | None] = {}

    def of(self, results: "xr.Dataset") -> "Dataset | None":
        """The very dataset that results come from, or None."""
        study = json.loads(results.attrs.get("study", "{}"))
        name, illumination, seed = study.get("dataset"), study.get("illumination", 0.0), study.get("seed", 0)
        if not isinstance(name, str) or not (name == "mnist" or (name.endswith(".npz") and Path(name).is_file())):
            return None
        key = (name, illumination, seed if illumination else 0)
        if key not in self._read:
            self._read[key] = _load(name, illumination, seed)
        dataset = self._read[key]
        same = dataset is not None and dataset.fingerprint == results.attrs.get("data_fingerprint")
        return dataset if same else None

    def border(self, results: "xr.Dataset") -> np.ndarray | None:
        """Bool [H, W], the pixels never on in training; None where the dataset is not at hand."""
        if "weight_delta" not in results or (dataset := self.of(results)) is None:
            return None
        from jaxinv.training.weight_change import border_mask

        return border_mask(dataset.x_train)

    def bounds(self, results: "xr.Dataset") -> dict[str, float]:
        """arm -> curvature bound, of arms that have a name, for gradient descent at several learning rates; else {}."""
        study = json.loads(results.attrs.get("study", "{}"))
        model, arms = study.get("model"), [arm for arm in study.get("arms", ()) if isinstance(arm, str)]
        plain = study.get("optimizer") == "sgd" and isinstance(model, str)
        if not plain or results.sizes["learning_rate"] < 2 or (dataset := self.of(results)) is None:
            return {}
        found = {}
        for arm in arms:
            bound = self._bound(dataset, arm, model)
            if bound is None:  # no such bound for this model, whatever the arm
                break
            found[arm] = bound
        return {arm: bound for arm, bound in found.items() if np.isfinite(bound)}

    def _bound(self, dataset: "Dataset", arm: str, model: str) -> float | None:
        from jaxinv.models import get_model
        from jaxinv.theory import compute_sharpness

        key = (dataset.fingerprint, arm, model)
        if key not in self._bounds:
            reads_pixels = get_model(model).pixel_weights is not None
            self._bounds[key] = (
                compute_sharpness(dataset, arm, model).max_stable_learning_rate if reads_pixels else None
            )
        return self._bounds[key]


def _load(name: str, illumination: float, seed: int) -> "Dataset | None":
    from jaxinv import data

    try:
        dataset = data.load_dataset(name)
    except (InputError, DataError):  # another file by the same name: the page says that the dataset is not at hand
        return None
    return data.relight(dataset, strength=illumination, seed=seed) if illumination else dataset
