"""Free memory: the machine's, within a container's limit."""

from pathlib import Path

import psutil
import pytest

from jaxinv.engine import setup
from jaxinv.errors import DataError
from jaxinv.utils import memory
from jaxinv.utils.memory import available_bytes


def test_caches_count_as_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Linux fills memory with caches that it gives back when asked, so MemFree says far too little."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    values = psutil.virtual_memory()._replace(available=5 << 30, free=1 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: values)
    assert available_bytes() == 5 << 30


@pytest.mark.parametrize(("limit", "free"), [("2000", 1300), ("500", 0), ("max", 5000), ("9000", 5000)])
def test_a_container_has_what_its_limit_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, free: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.stat").write_text("anon 600\nfile 900\nshmem 100\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    values = psutil.virtual_memory()._replace(available=5000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: values)
    assert available_bytes() == free


@pytest.mark.skipif(memory.resource is None, reason="no limits")
def test_a_process_has_what_its_own_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr("resource.getrlimit", lambda which: (used + 2**20, -1))
    assert available_bytes() <= 2**20
    monkeypatch.setattr("resource.getrlimit", lambda which: (2**20, -1))
    assert available_bytes() == 0
    with pytest.raises(
        DataError, match=r"memory: ulimit -v allows 0.0 GiB, with which JAX aborts; allow 2 GiB or more"
    ):
        setup.configure(cache=False)
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, -1))
    assert memory.address_limit() is None
