"""Claims from two public discussions about how images are presented to a network, each put to the test.

from jaxinv import claims

print(claims.table(claims.run_claims(["centring-removes-it"], quick=True)))
"""

from jaxinv.experiments.claims.claim import Claim, Finding
from jaxinv.experiments.claims.lab import Lab
from jaxinv.experiments.claims.running import CLAIMS, run_claims, table

__all__ = ["CLAIMS", "Claim", "Finding", "Lab", "run_claims", "table"]
