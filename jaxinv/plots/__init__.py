"""Pictures of stored results. Each takes results (or arrays) and, if wanted, the matplotlib `Axes` to draw on, and
returns it; statistics come from `jaxinv.stats`, and pyplot's global state is left alone.

>>> import numpy as np
>>> ax = weight_change(np.eye(4), border_mask=np.eye(4) == 0, title="normal")
>>> ax.get_title()
'normal'
"""

from jaxinv.plots.curves import curve_over_steps, learning_rate_curve
from jaxinv.plots.distributions import trial_distribution, trial_distributions
from jaxinv.plots.forest import forest
from jaxinv.plots.heatmaps import weight_change, weight_changes
from jaxinv.plots.images import contact_sheet
from jaxinv.plots.ranks import arm_ranks
from jaxinv.plots.speed import throughput
from jaxinv.plots.style import arm_style, new_figure, save, to_bytes

__all__ = [
    "arm_ranks",
    "arm_style",
    "contact_sheet",
    "curve_over_steps",
    "forest",
    "learning_rate_curve",
    "new_figure",
    "save",
    "throughput",
    "to_bytes",
    "trial_distribution",
    "trial_distributions",
    "weight_change",
    "weight_changes",
]
