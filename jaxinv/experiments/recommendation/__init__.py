"""Which preprocessing to use for some models and data: the second discussion, answered by trainings."""

from jaxinv.experiments.recommendation.running import recommend

__all__ = ["recommend"]
