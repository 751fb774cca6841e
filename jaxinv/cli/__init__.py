"""The command line: parse, call, print."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Union

import tyro

import jaxinv
from jaxinv.cli.commands import COMMANDS
from jaxinv.cli.stopping import Interrupted
from jaxinv.errors import DataError, InputError, shown, unknown
from jaxinv.utils.progress import say

DONE, FAILED, SENSELESS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130
PLAINER: dict[str, Callable[..., str]] = {  # what tyro says, and how it is said here
    r"Unrecognized options: (\S+?),?(?: |$)(?:.*?Perhaps you meant: (--[\w-]+))?": lambda command, option, meant: (
        f"{option}: {command} has no such option" + (f"; perhaps you meant {meant}" if meant else "")
    ),
    r"Missing value for argument '(.*?)'": lambda command, option: f"{option}: no value is given; give one",
    r"Error parsing (\S+): invalid literal for int\(\) with base 10: (.*)": lambda command, option, value: (
        f"{option}: {value} is not allowed; give a whole number"
    ),
    r"Error parsing (\S+): could not convert string to float: (.*)": lambda command, option, value: (
        f"{option}: {value} is not allowed; give a number"
    ),
    r"Missing from .*?: ([A-Z]+) ": lambda command, name: f"{name}: {command} needs it; give one",
}
DESCRIPTION = """Train many small networks under several treatments, paired trial by trial.

jaxinv COMMAND --help shows a command's options, jaxinv --version the version.

Example: jaxinv run --arms normal inverted --trials 100"""
LOOK = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)  # a field that is a dataclass titles its options
TOO_LITTLE = "memory: it does not suffice"
LEAST_COLUMNS = 40  # of a terminal; in fewer, help would be drawn letter by letter


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows a question mark
    if os.environ.get("COLUMNS", "").isdecimal():
        os.environ["COLUMNS"] = str(max(int(os.environ["COLUMNS"]), LEAST_COLUMNS))
    if list(arguments) == ["--version"]:
        print(f"jaxinv {jaxinv.__version__}")
        return DONE
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
    except MemoryError:
        return fail(f"{TOO_LITTLE}; give fewer trials, a smaller --chunk, or more memory", FAILED)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        return fail(f"{TOO_LITTLE} for another thread; give fewer --devices, or more memory", FAILED)
    except OSError as error:  # files have errors of their own by now: this is standard output
        if error.filename is not None:
            return fail(f"{error.filename}: cannot be used ({error.strerror})", FAILED)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return fail(f"standard output: cannot be written ({error.strerror})", FAILED)
    return DONE


def parse(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for; what they get wrong becomes one line."""
    arguments = list(arguments) or ["--help"]
    if not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    command, prog, rest = COMMANDS.get(arguments[0]), "jaxinv", arguments
    if command is not None:
        prog, rest = f"jaxinv {arguments[0]}", arguments[1:]
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            return tyro.cli(
                any_command() if command is None else command,
                args=rest,
                prog=prog,
                description=DESCRIPTION if command is None else None,
                config=LOOK,
            )
    except SystemExit as exit:
        if not exit.code:
            raise
        raise InputError(sentence(drawn.getvalue(), arguments)) from None


def any_command() -> Any:
    """All commands, each by the first line of its help."""
    named: list[Any] = [
        Annotated[command, tyro.conf.subcommand(name, description=(command.__doc__ or name).splitlines()[0])]
        for name, command in COMMANDS.items()
    ]
    # With a help of its own the choice is not looked up in tyro's source and typing's, which takes 0.04 s.
    return Annotated[Union[tuple(named)], tyro.conf.arg(name="", help="A command.")]  # noqa: UP007


def sentence(drawn: str, arguments: Sequence[str]) -> str:
    """What tyro draws in a box, under a title and above further help, as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn)  # without colours
    _, *lines = (re.sub(r"[^\x20-\x7e]+|-{3,}", " ", line) for line in plain.splitlines())  # nor rules
    said = re.split(r"\s(?:Argument helptext|For full helptext)", " ".join(" ".join(lines).split()))[0]
    command = f"jaxinv {arguments[0]}" if arguments[0] in COMMANDS else "jaxinv"
    for pattern, plain in PLAINER.items():
        if found := re.match(pattern, said):
            return f"{plain(command, *found.groups())}; {command} --help says what is allowed"
    return f"{said.rstrip('.')}; {command} --help says what is allowed"


def fail(error: object, status: int) -> int:
    """Say what went wrong in one line."""
    say(f"jaxinv: {shown(error)}")
    return status
