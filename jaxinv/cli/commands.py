"""The commands by name. Each is a dataclass of its flags, to be called; it imports what is heavy when it is called."""

from jaxinv.cli.analysis import Compare, Power, Report, Variance
from jaxinv.cli.listing import Arms, Datasets
from jaxinv.cli.recommendation import Recommend
from jaxinv.cli.replication import Replicate
from jaxinv.cli.training import Bench, Claims, Run

COMMANDS = {
    "replicate": Replicate,
    "run": Run,
    "claims": Claims,
    "recommend": Recommend,
    "compare": Compare,
    "power": Power,
    "variance": Variance,
    "report": Report,
    "bench": Bench,
    "arms": Arms,
    "datasets": Datasets,
}
