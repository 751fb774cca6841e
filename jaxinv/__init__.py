"""jaxinv: does this change to training matter?

Trains hundreds to millions of small networks side by side under several treatments (preprocessings, models, optimizers,
data), paired trial by trial, and compares them.

    import jaxinv as ji

    results = ji.run(ji.Study(arms=("normal", "inverted"), trials=100))
    print(ji.compare(results, "normal", "inverted"))

Names are imported when they are first used, so that `import jaxinv` loads neither JAX nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxinv import plots as plots
    from jaxinv import stats as stats
    from jaxinv import theory as theory
    from jaxinv.arm import Arm as Arm
    from jaxinv.arm import arms as arms
    from jaxinv.data import Dataset as Dataset
    from jaxinv.data import load_dataset as load_dataset
    from jaxinv.data import relight as relight
    from jaxinv.engine.networks import load_module as load_module
    from jaxinv.engine.networks import load_params as load_params
    from jaxinv.engine.networks import predictor as predictor
    from jaxinv.engine.runner import run as run
    from jaxinv.engine.single_trial import make_trial as make_trial
    from jaxinv.errors import DataError as DataError
    from jaxinv.errors import InputError as InputError
    from jaxinv.experiments import claims as claims
    from jaxinv.models import Model as Model
    from jaxinv.models import from_linen as from_linen
    from jaxinv.models import from_nnx as from_nnx
    from jaxinv.preprocess import Preprocess as Preprocess
    from jaxinv.stats import Comparison as Comparison
    from jaxinv.stats import Until as Until
    from jaxinv.stats import compare as compare
    from jaxinv.stats import compare_all as compare_all
    from jaxinv.store import load as load
    from jaxinv.store import merge as merge
    from jaxinv.study import Study as Study

__version__ = "0.2.0"

_HOME = {
    "Arm": "arm",
    "Comparison": "stats",
    "DataError": "errors",
    "Dataset": "data",
    "InputError": "errors",
    "Model": "models",
    "Preprocess": "preprocess",
    "Study": "study",
    "Until": "stats",
    "arms": "arm",
    "claims": "experiments.claims",
    "compare": "stats",
    "compare_all": "stats",
    "from_linen": "models",
    "from_nnx": "models",
    "load": "store",
    "load_dataset": "data",
    "load_module": "engine.networks",
    "load_params": "engine.networks",
    "make_trial": "engine.single_trial",
    "merge": "store",
    "plots": "plots",
    "predictor": "engine.networks",
    "relight": "data",
    "run": "engine.runner",
    "stats": "stats",
    "theory": "theory",
}

__all__ = [
    "Arm",
    "Comparison",
    "DataError",
    "Dataset",
    "InputError",
    "Model",
    "Preprocess",
    "Study",
    "Until",
    "arms",
    "claims",
    "compare",
    "compare_all",
    "from_linen",
    "from_nnx",
    "load",
    "load_dataset",
    "load_module",
    "load_params",
    "make_trial",
    "merge",
    "plots",
    "predictor",
    "relight",
    "run",
    "stats",
    "theory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxinv' has no attribute {name!r}")
    home = import_module(f"jaxinv.{_HOME[name]}")
    value = home if _HOME[name].split(".")[-1] == name else getattr(home, name)  # a module, or what lives in one
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
