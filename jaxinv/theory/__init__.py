"""What can be said about a preprocessing without training: sharpness, stable learning rates, the affine fold."""

from jaxinv.theory.sharpness import Curvature, Translation, curvature, refuse_fold, train_one, translate

__all__ = ["Curvature", "Translation", "curvature", "refuse_fold", "train_one", "translate"]
