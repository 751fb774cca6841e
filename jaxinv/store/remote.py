"""What `Storage` has to know of fsspec's file systems: how they open, how long they may take, how they say no.

fsspec is imported when the first opens: runs in memory need none.
"""

import contextlib
import errno
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from jaxinv.errors import InputError, one_line

SECONDS = 60  # for an answer, and more for content:
BYTES_PER_SECOND = 1_000_000  # at least
READ_BYTES = 250_000_000  # for what is read, of which nobody knows how much there is
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # by protocol
ONE_REQUEST = {"max_concurrency": 1}  # else s3fs asks how large a file is before it reads it
OPTIONS: dict[str, dict[str, Any]] = {"s3": ONE_REQUEST, "s3a": ONE_REQUEST}
BUCKETS = {"s3", "gs"}  # protocols that can create an object only where there is none, and have no folders
REFUSALS = (OSError, ValueError, NotImplementedError)
CLIENTS = {
    "aiohttp": ["ClientError"],
    "azure.core.exceptions": ["AzureError"],
    "botocore.exceptions": ["BotoCoreError", "ClientError"],
    "gcsfs.retry": ["ChecksumError", "HttpError", "NonRetryableError"],
    "google.api_core.exceptions": ["GoogleAPIError"],
    "google.auth.exceptions": ["GoogleAuthError"],
    "paramiko.ssh_exception": ["SSHException"],
}
"""What else clients raise, in some of their versions, by module."""
BROKEN = {getattr(errno, name, None) for name in ("EBUSY", "EDQUOT", "EIO", "ENOSPC", "EREMOTEIO")}


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
      InputError: there is no such file system, or it needs a package that is not installed.
    """
    import fsspec

    protocol = url.partition("://")[0]
    try:
        with known_errors():
            system, root = fsspec.core.url_to_fs(url, **OPTIONS.get(protocol, {}))
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        hint = f"install it with: pip install 'jaxinv[{extra}]'" if extra else "install it, or give another place"
        raise InputError(f"out: {url!r} needs a package that is not installed ({why(error)}); {hint}") from error
    except refusals() as error:
        raise InputError(f"out: {url!r} cannot be opened ({why(error)}); give another place") from error
    return system, root.rstrip("/")


def has_buckets(system: Any) -> bool:
    """Whether a file system is an object store that creates an object only where there is none when asked to."""
    names = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
    return not BUCKETS.isdisjoint(names)


def call(system: Any, name: str, *args: Any, size: int = 0, **options: Any) -> Any:
    """Call a method of a file system, for a limited time where that is a client of a network.

    Clients have limits of their own, and repeat what failed: for minutes where a server accepts requests and is silent.

    Args:
      system: the file system.
      name: of the method.
      args: of the method.
      size: how many bytes are sent or read.
      options: further arguments of the method.

    Raises:
      TimeoutError: it took longer.
    """
    seconds = SECONDS + size / BYTES_PER_SECOND
    with known_errors():
        from fsspec.asyn import AsyncFileSystem, sync

        if isinstance(system, AsyncFileSystem) and not system.asynchronous:
            try:
                return sync(system.loop, getattr(system, f"_{name}"), *args, timeout=seconds, **options)
            except TimeoutError as error:
                raise TimeoutError(f"no answer within {seconds:.3g} s") from error
        return getattr(system, name)(*args, **options)


@contextlib.contextmanager
def known_errors() -> Iterator[None]:
    """Turn what a client raises, whatever that is, into one of `refusals`.

    There are dozens of file systems. Their clients have errors of their own, and some raise `TypeError` for a URL that
    lacks a part.
    """
    try:
        yield
    except (*refusals(), ImportError, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {one_line(error)}") from error


def refusals() -> tuple[type[Exception], ...]:
    """How file systems say no: what their clients raise, of those that have been imported."""
    found = (getattr(sys.modules.get(module), name, None) for module, names in CLIENTS.items() for name in names)
    return *REFUSALS, *filter(None, found)


def why(error: Exception) -> str:
    """What a file system says, in one line."""
    return getattr(error, "strerror", None) or textwrap.shorten(one_line(error), 200, placeholder=" …")


def is_failure(error: Exception) -> bool:
    """Whether a disk or the network failed, rather than that the request makes no sense there."""
    return is_unreachable(error) or getattr(error, "errno", None) in BROKEN


def is_unreachable(error: Exception) -> bool:
    """Whether there was no answer at all."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint({"TimeoutError", "ConnectionError", "ClientConnectionError", "HTTPClientError"})


def code(error: Exception) -> str:
    """What S3 calls the reason of an error; "" elsewhere."""
    response = getattr(error.__cause__, "response", None)
    return response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
