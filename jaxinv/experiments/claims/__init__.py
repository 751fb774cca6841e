"""Claims from two public discussions about how images are presented to a network, each put to the test.

from jaxinv.experiments import claims

print(claims.table(claims.run_claims(["centring-removes-it"], quick=True)))
"""

from jaxinv.experiments.claims.claim import Claim, Judgement, Measurement
from jaxinv.experiments.claims.rule import Criterion
from jaxinv.experiments.claims.running import CLAIMS, run_claims, table
from jaxinv.experiments.claims.study_cache import StudyCache

__all__ = ["CLAIMS", "Claim", "Criterion", "Judgement", "Measurement", "StudyCache", "run_claims", "table"]
