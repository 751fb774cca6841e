"""The commands by name. Each is a dataclass of its flags, to be called; it imports what is heavy when it is called."""

from jaxinv.cli.analysis import Compare, Power, Report
from jaxinv.cli.listing import Arms, Datasets
from jaxinv.cli.training import Bench, Claims, Replicate, Run

COMMANDS = {
    "replicate": Replicate,
    "run": Run,
    "claims": Claims,
    "compare": Compare,
    "power": Power,
    "report": Report,
    "bench": Bench,
    "arms": Arms,
    "datasets": Datasets,
}
