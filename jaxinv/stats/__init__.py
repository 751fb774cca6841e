"""Statistics of stored results: pure functions of arrays, and the comparison of arms made of them.

Trials lie along the last axis unless `axis` says otherwise, and are paired: trial t has the same initial weights and
the same batches in every arm. Importing this needs neither JAX nor SciPy: the first
call that uses one loads it.
"""

from jaxinv.stats.bootstrap import Bootstrap, bootstrap_interval
from jaxinv.stats.cells import CellSummary, cell_summary
from jaxinv.stats.comparison import Comparison, Comparisons, compare, compare_all
from jaxinv.stats.description import Summary, interquartile_mean, published_z, summary
from jaxinv.stats.equivalence import Equivalence, tost
from jaxinv.stats.images import McNemar, Variation, mcnemar, variation
from jaxinv.stats.multiplicity import benjamini_hochberg, holm
from jaxinv.stats.paired import Pairing, TTest, cohen_dz, paired_t, pairing, superiority, welch
from jaxinv.stats.paired_trials import PairedTrials, paired_trials
from jaxinv.stats.planning import TrialsNeeded, power, trials_needed
from jaxinv.stats.signs import PTest, sign_flip, wilcoxon

__all__ = [
    "Bootstrap",
    "CellSummary",
    "Comparison",
    "Comparisons",
    "Equivalence",
    "McNemar",
    "PTest",
    "PairedTrials",
    "Pairing",
    "Summary",
    "TTest",
    "TrialsNeeded",
    "Variation",
    "benjamini_hochberg",
    "bootstrap_interval",
    "cell_summary",
    "cohen_dz",
    "compare",
    "compare_all",
    "holm",
    "interquartile_mean",
    "mcnemar",
    "paired_t",
    "paired_trials",
    "pairing",
    "power",
    "published_z",
    "sign_flip",
    "summary",
    "superiority",
    "tost",
    "trials_needed",
    "variation",
    "welch",
    "wilcoxon",
]
