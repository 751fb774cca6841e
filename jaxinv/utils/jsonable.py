"""Values as JSON can hold them."""

from typing import Any

import numpy as np


def jsonable(value: Any) -> Any:
    """Python numbers, lists and None for JSON, which knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: jsonable(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
