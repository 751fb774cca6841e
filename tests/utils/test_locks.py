"""The lock between processes, held by processes."""

import contextlib
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxinv.utils import locks
from jaxinv.utils.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from jaxinv.utils.locks import locked
with locked(Path(sys.argv[1]), seconds=5, what="testing") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen]:
    """Another process that has the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            yield process
        finally:
            process.kill()


def test_it_is_had_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock", seconds=0, what="testing") as mine:
            assert mine
            assert locks.holder_of(tmp_path / "lock").startswith(f"process {os.getpid()} on ")
        assert not list(tmp_path.iterdir())


def test_it_is_waited_for_no_longer_than_asked_and_who_has_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "SILENT_SECONDS", 0.2)
    with holder(tmp_path / "lock") as other:
        start = time.monotonic()
        with locked(tmp_path / "lock", seconds=0.5, what="preparing it") as mine:
            assert not mine
        assert 0.5 <= time.monotonic() - start < 5
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"waiting for process {other.pid} on " in record.getMessage()
        assert record.getMessage().endswith(", which is preparing it")
        assert (tmp_path / "lock").exists(), "whoever did not have the lock has removed it"


def test_it_ends_with_a_holder_that_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as other:
        threading.Timer(0.3, other.kill).start()
        with locked(tmp_path / "lock", seconds=30, what="testing") as mine:
            assert mine
    assert not list(tmp_path.iterdir())


def test_two_never_have_it_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "lock", seconds=30, what="testing") as mine:
                assert mine
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, inside) == (1, 0)


def test_a_lock_on_a_file_that_is_gone_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes next makes another file, which it locks too."""
    take, first = locks._take, contextlib.ExitStack()
    first.enter_context(locked(tmp_path / "lock", seconds=0, what="testing"))

    def late(file: int) -> bool:
        first.close()  # after the second has opened the file
        return take(file)

    monkeypatch.setattr(locks, "_take", late)
    with locked(tmp_path / "lock", seconds=5, what="testing") as mine:
        assert mine
        monkeypatch.undo()
        with locked(tmp_path / "lock", seconds=0.1, what="testing") as other:
            assert not other


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*arguments: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", refused)
    with locked(tmp_path / "lock", seconds=0, what="testing") as mine:
        assert mine


def test_a_lock_of_another_user_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file can be read only."""
    really_open = os.open

    def refused(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_open(path, flags, *mode)

    with holder(tmp_path / "lock") as other:
        monkeypatch.setattr(os, "open", refused)
        with locked(tmp_path / "lock", seconds=0.2, what="testing") as mine:
            assert not mine
        threading.Timer(0.2, other.kill).start()
        with locked(tmp_path / "lock", seconds=30, what="testing") as mine:
            assert mine
    with pytest.raises(PermissionError), locked(tmp_path / "other", seconds=0, what="testing"):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "no" / "lock", seconds=0, what="testing"):
        pass
