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
from jaxinv.cli.stopping import Interrupted
from jaxinv.errors import DataError, InputError, unknown
from jaxinv.utils.progress import say

DONE, FAILED, SENSELESS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130
DESCRIPTION = "Train many small networks under several preprocessings, paired trial by trial."


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    try:
        command = parse(arguments)
        command()
        sys.stdout.flush()
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
    except OSError as error:  # files have errors of their own by now: this is standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return fail(f"standard output: cannot be written ({error.strerror})", FAILED)
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
        raise InputError(sentence(shown.getvalue(), arguments)) from None


def sentence(shown: str, arguments: Sequence[str]) -> str:
    """What tyro draws in a box, under a title and above further help, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # without colours
    _, *lines = (re.sub(r"[^\x20-\x7e]+|-{3,}", " ", line) for line in plain.splitlines())  # nor rules
    said = re.split(r"\s(?:Argument helptext|For full helptext)", " ".join(" ".join(lines).split()))[0]
    command = f"{arguments[0]} " if arguments and arguments[0] in COMMANDS else ""
    return f"{said.rstrip('.')}; jaxinv {command}--help says what is allowed"


def fail(error: object, status: int) -> int:
    """Say what went wrong in one line."""
    say(f"jaxinv: {' '.join(str(error).split())}")
    return status
