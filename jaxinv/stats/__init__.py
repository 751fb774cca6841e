"""Statistics of stored results: pure functions of arrays, and the comparison of arms made of them.

Trials lie along the last axis unless `axis` says otherwise, and are paired: trial t has the same initial weights and
the same batches in every arm. Importing this needs neither JAX nor SciPy: the first
call that uses one loads it.
"""

from jaxinv.stats.bernstein import RunningBernstein, bernstein_interval, bernstein_sequence
from jaxinv.stats.bootstrap import Bootstrap, bootstrap_interval
from jaxinv.stats.cells import CellSummary, cell_summary
from jaxinv.stats.comparison import Comparison, Comparisons, compare, compare_all, compare_runs
from jaxinv.stats.descriptive import Summary, interquartile_mean, published_z, summary
from jaxinv.stats.effect_sizes import Pairing, cohen_dz, pairing, superiority
from jaxinv.stats.equivalence import Equivalence, one_sided_p, tost
from jaxinv.stats.multiple_testing import benjamini_hochberg, holm
from jaxinv.stats.paired_proportions import McNemar, mcnemar
from jaxinv.stats.paired_trials import PairedTrials, paired_trials
from jaxinv.stats.permutation_tests import PTest, sign_flip
from jaxinv.stats.power_analysis import TrialsNeeded, power, trials_needed
from jaxinv.stats.rank_tests import wilcoxon
from jaxinv.stats.sequential import (
    AnytimeInterval,
    RunningMoments,
    anytime_interval,
    confidence_sequence,
    first_look,
)
from jaxinv.stats.stopping import Until
from jaxinv.stats.stopping_times import StoppingTime, stopping_time
from jaxinv.stats.t_tests import TTest, paired_t, welch
from jaxinv.stats.training_variance import TrainingVariance, training_variance
from jaxinv.stats.variance_components import Variation, variation
from jaxinv.stats.variances import Variances, variances

__all__ = [
    "AnytimeInterval",
    "Bootstrap",
    "CellSummary",
    "Comparison",
    "Comparisons",
    "Equivalence",
    "McNemar",
    "PTest",
    "PairedTrials",
    "Pairing",
    "RunningBernstein",
    "RunningMoments",
    "StoppingTime",
    "Summary",
    "TTest",
    "TrainingVariance",
    "TrialsNeeded",
    "Until",
    "Variances",
    "Variation",
    "anytime_interval",
    "benjamini_hochberg",
    "bernstein_interval",
    "bernstein_sequence",
    "bootstrap_interval",
    "cell_summary",
    "cohen_dz",
    "compare",
    "compare_all",
    "compare_runs",
    "confidence_sequence",
    "first_look",
    "holm",
    "interquartile_mean",
    "mcnemar",
    "one_sided_p",
    "paired_t",
    "paired_trials",
    "pairing",
    "power",
    "published_z",
    "sign_flip",
    "stopping_time",
    "summary",
    "superiority",
    "tost",
    "training_variance",
    "trials_needed",
    "variances",
    "variation",
    "welch",
    "wilcoxon",
]
