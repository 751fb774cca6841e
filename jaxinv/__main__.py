"""`jaxinv` and `python -m jaxinv`."""

import os
import signal
import sys
from typing import Any


def stop(number: int, frame: Any) -> None:
    """Ctrl-C while imports go on, which an exception would break in the middle: nothing has begun, so leave at once."""
    os.write(2, b"jaxinv: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command line and exit with its status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not one who is told to ignore it
        signal.signal(signal.SIGINT, stop)
    from jaxinv import cli

    status = cli.main(sys.argv[1:])
    if status in (cli.RESUMABLE, cli.INTERRUPTED):
        # A device may still be computing: taking the interpreter down under it crashes, and waiting may take minutes.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
