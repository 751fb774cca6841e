"""What can be said about a preprocessing without training: sharpness, stable learning rates, the affine fold."""

from jaxinv.theory.fold import Translation, refuse_fold, translate
from jaxinv.theory.sharpness import Sharpness, compute_sharpness

__all__ = ["Sharpness", "Translation", "compute_sharpness", "refuse_fold", "translate"]
