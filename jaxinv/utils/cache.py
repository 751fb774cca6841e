"""Folders of the user's own for what can be made again."""

import os
import stat
from pathlib import Path


def own_cache_folder(name: str) -> Path:
    """The folder of that name in `$XDG_CACHE_HOME/jaxinv`, made where it is not there; nobody else can write to it.

    Raises:
      OSError: there can be none. The message is one line that names the folder.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # a user without a home, as containers have them
        raise OSError(f"{error}") from error
    folder = Path(home) / "jaxinv" / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        raise OSError(f"{folder}: {error.strerror}") from error
    mine = not hasattr(os, "getuid") or info.st_uid == os.getuid()
    if not mine or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(f"{folder} can be written by others; remove it or chmod 700 it")
    return folder
