"""The networks: pure functions `init`, `apply` and `fold`, built in or adapted from flax modules."""

from jaxinv.models.adapters import from_nnx
from jaxinv.models.model import Apply, ImageShape, Init, Model, Params, State
from jaxinv.models.networks import get_model

__all__ = ["Apply", "ImageShape", "Init", "Model", "Params", "State", "from_nnx", "get_model"]
