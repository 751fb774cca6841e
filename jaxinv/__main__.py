"""`jaxinv` and `python -m jaxinv`."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from jaxinv.cli import main

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    main()
