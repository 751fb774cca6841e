"""`jaxinv` and `python -m jaxinv`."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its status."""
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
