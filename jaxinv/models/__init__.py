"""The networks: pure functions `init`, `apply` and `fold`, built in or adapted from flax modules."""

from jaxinv.models.adapters import from_linen, from_nnx
from jaxinv.models.layers import BatchNorm
from jaxinv.models.model import Apply, BoundModel, ImageShape, Init, Model, Params, State, check_model
from jaxinv.models.networks import get_model

__all__ = [
    "Apply",
    "BatchNorm",
    "BoundModel",
    "ImageShape",
    "Init",
    "Model",
    "Params",
    "State",
    "check_model",
    "from_linen",
    "from_nnx",
    "get_model",
]
