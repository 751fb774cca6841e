"""The command line: parse, call, print."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from jaxinv.cli.commands import COMMANDS
from jaxinv.cli.options import Interrupted
from jaxinv.errors import DataError, InputError, unknown

DONE, FAILED, SENSELESS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130
DESCRIPTION = "Train many small networks under several preprocessings, paired trial by trial."


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        command = parse(arguments)
        command()
    except InputError as error:
        return fail(error, SENSELESS)
    except DataError as error:
        return fail(error, FAILED)
    except Interrupted as error:
        return fail(error, RESUMABLE if error.folder else INTERRUPTED)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of standard output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return DONE


def parse(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for; what they get wrong becomes one line."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    app = tyro.extras.SubcommandApp()
    for name, command in COMMANDS.items():
        app.command(command, name=name)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return app.cli(
                args=list(arguments), prog="jaxinv", description=DESCRIPTION, config=(tyro.conf.FlagCreatePairsOff,)
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        words = re.sub(r"[^\x20-\x7e]+|-{3,}", " ", shown.getvalue())  # without tyro's boxes and rules
        raise InputError(" ".join(words.split())) from None


def fail(error: object, status: int) -> int:
    """Say what went wrong in one line."""
    print(f"jaxinv: {' '.join(str(error).split())}", file=sys.stderr)
    return status
