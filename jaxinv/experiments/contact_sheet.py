"""The contact sheet: the same images under every arm."""

import numpy as np

from jaxinv import plots, registry
from jaxinv.data import load_dataset
from jaxinv.errors import InputError
from jaxinv.preprocess import get_preprocess, transform
from jaxinv.utils.files import local_path

IMAGES = 10


def draw_arms(dataset: str, out: str, arms: tuple[str, ...] = tuple(registry.PREPROCESSINGS)) -> None:
    """Draw one test image of each class, up to ten, under every arm, into a .png or .svg.

    Raises:
      InputError: another kind of file, or a folder that is not there.
    """
    path = local_path("out", out)
    if path.suffix not in (".png", ".svg"):
        raise InputError(f"out: {out!r} is not a picture file; give a name that ends in .png or .svg")
    if not path.parent.is_dir():
        raise InputError(f"out: {str(path.parent)!r} is not a folder; give a place in one that is there")
    data = load_dataset(dataset)
    _, first = np.unique(data.y_test, return_index=True)
    images = data.x_test[first[:IMAGES]]
    fitted = {name: (arm := get_preprocess(name), arm.fit(data.x_train)) for name in arms}
    shown = {name: transform(arm, params, images) for name, (arm, params) in fitted.items()}
    plots.save(plots.contact_sheet(shown), path)
