"""Files that are lost, cut short or altered, one by one: named, computed again, never silently used."""

import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from jaxinv.errors import DataError, InputError
from jaxinv.store import check_can_hold, describe_progress, load
from tests.store.test_store import ATTRS, check_values, fast_folder, fill, make_study, open_store, whole_run

BLOCK, TRIALS = 4, 10
ARRAYS = ("accuracy", "test_loss", "diverged", "layer_delta")
LABELS = ("arm", "learning_rate", "trial", "step", "layer")


def names_of_files() -> Iterator[str]:
    """Every file of a finished run of three blocks, written down here and not read from one."""
    for block in range(3):
        for name in ("accuracy", "test_loss", "layer_delta"):
            yield f"{name}/c.0.0.{block}.0"
        yield f"diverged/c.0.0.{block}"
        yield f"done/c.{block}"
        yield f"blocks/mark/c.{block}.0"
    yield "weight_delta/c.0.0.0.0.0"
    for name in LABELS:
        yield f"{name}/c.0"
    for name in (*ARRAYS, *LABELS, "done", "weight_delta", "blocks", "blocks/mark"):
        yield f"{name}/zarr.json"
    for name in ("arm", "layer"):
        yield f"blocks/{name}/c.0.0"
        yield f"blocks/{name}/zarr.json"
    yield "zarr.json"


FILES = sorted(names_of_files())


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    yield from fast_folder()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset]:
    folder = tmp_path_factory.mktemp("run") / "x"
    return folder, whole_run(folder)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    if how == "removed":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(data[:middle])
    elif path.suffix == ".json":  # a digit or a letter: still JSON
        middle = next(i for i in range(middle, len(data)) if data[i : i + 1].isalnum())
        path.write_bytes(data[:middle] + (b"1" if data[middle : middle + 1] != b"1" else b"2") + data[middle + 1 :])
    else:
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])


def test_the_list_is_complete(run: tuple[Path, xr.Dataset]) -> None:
    root = run[0] / "results.zarr"
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == FILES


SLOW = [pytest.param(how, marks=pytest.mark.slow) for how in ("removed", "emptied", "cut short")]


@pytest.mark.parametrize("how", [*SLOW, "altered"])
@pytest.mark.parametrize("name", [name for name in FILES if ".1" not in name])  # the first block and the last
def test_every_file(tmp_path: Path, run: tuple[Path, xr.Dataset], name: str, how: str) -> None:
    folder, whole = tmp_path / "x", run[1]
    shutil.copytree(run[0], folder)
    path = folder / "results.zarr" / name
    damage(path, how)

    harmless = how == "removed" and (name.startswith("done/c") or name == "weight_delta/c.0.0.0.0.0")
    if harmless:  # they repeat what the blocks say: as if the run had been stopped just before they were written
        xr.testing.assert_identical(load(folder), whole)
    else:
        with pytest.raises(DataError, match=f"{path} .*; the command that made it, run again, ") as error:
            load(folder)
        assert "\n" not in str(error.value)

    check_can_hold(folder, make_study())
    with open_store(folder) as store:
        assert len(store.notes) == (not harmless)
        assert all(str(path) in note for note in store.notes)
    check_values(load(folder))  # as if that run had been stopped before it computed anything
    with open_store(folder) as store:
        assert store.notes == []
        computed = fill(store)
        store.finish()
        xr.testing.assert_identical(store.read(), whole)
    in_block = (
        name.split("/")[0] in (*ARRAYS, "blocks")
        and "blocks/arm" not in name
        and "blocks/layer" not in name
        and not name.endswith(".json")
    )
    sizes = {"0": 4, "1": 4, "2": 2}
    block = name.split(".")[1] if "mark" in name else name.split(".")[min(3, name.count("."))]
    assert computed == (sizes[block] if in_block else 0)
    xr.testing.assert_identical(load(folder), whole)
    with open_store(folder) as store:
        assert store.notes == []


@pytest.mark.slow
def test_every_byte_of_a_chunk(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    path = folder / "results.zarr" / "diverged" / "c.0.0.1"
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :])
        with pytest.raises(DataError, match=r"diverged/c\.0\.0\.1 is truncated or altered"):
            load(folder)


def test_exchanged_chunks(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    """A sound chunk in another's place: of another block, another variable, another run."""
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    whole_run(tmp_path / "other", fingerprint="other data")
    root, other = folder / "results.zarr", tmp_path / "other" / "results.zarr"
    for target, source in {
        "accuracy/c.0.0.0.0": root / "accuracy/c.0.0.1.0",
        "test_loss/c.0.0.0.0": root / "accuracy/c.0.0.0.0",
        "blocks/mark/c.0.0": root / "blocks/mark/c.1.0",
        "blocks/mark/c.1.0": other / "blocks/mark/c.1.0",
    }.items():
        kept = (root / target).read_bytes()
        shutil.copy(source, root / target)
        with pytest.raises(DataError, match=target):
            load(folder)
        (root / target).write_bytes(kept)
    load(folder)


@pytest.mark.slow
def test_values_changed_through_zarr(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    """Sound files with other contents: their checksums are right, the digests are not."""
    for name, index, value in (
        ("accuracy", (0, 0, 5, 1), 0.99),
        ("diverged", (1, 0, 9), True),
        ("weight_delta", (0, 0, 0, 0, 0), 1.0),
        ("trial", (3,), 4),
        ("arm", (0,), "upside down"),
    ):
        folder = tmp_path / name
        shutil.copytree(run[0], folder)
        array = zarr.open_array(folder / "results.zarr" / name, mode="r+")
        array[index] = value
        with pytest.raises(DataError, match=f"results.zarr/{name}/c"):
            load(folder)
        with open_store(folder) as store:
            assert len(store.notes) == 1
            fill(store)
            store.finish()
        xr.testing.assert_identical(load(folder), run[1])


def test_done_changed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store, 1)
    done = zarr.open_array(tmp_path / "results.zarr" / "done", mode="r+")
    done[4:6] = True
    with pytest.raises(DataError, match=r"blocks/mark/c.1.0 is missing, or older than .*done/c.1"):
        load(tmp_path)
    with open_store(tmp_path) as store:
        assert list(store.todo()) == [(4, 4), (8, 2)]
        assert len(store.notes) == 1
    check_values(load(tmp_path))
    done[0:2] = False
    with pytest.raises(DataError, match=r"done/c.0 has a gap"):
        load(tmp_path)
    done[0:4] = False  # as if the run had been stopped before it was written
    assert load(tmp_path).done.values.tolist() == [True] * 4 + [False] * 6
    with open_store(tmp_path) as store:
        assert list(store.todo()) == [(4, 4), (8, 2)]
    assert done[:].tolist() == [True] * 4 + [False] * 6  # type: ignore[union-attr]
    assert describe_progress(tmp_path) == (4, 10)


def test_attributes_changed(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    root = folder / "results.zarr" / "zarr.json"
    content = json.loads(root.read_text())
    content["attributes"]["versions"] = "{}"
    root.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"zarr.json is truncated or altered"):
        load(folder)
    with open_store(folder, attrs=ATTRS) as store:
        assert list(store.todo()) == []
        assert store.block == BLOCK
    xr.testing.assert_identical(load(folder), run[1])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trials": 10}', "other"])
def test_study_damaged(tmp_path: Path, run: tuple[Path, xr.Dataset], content: str) -> None:
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    study = folder / "study.json"
    study.write_text(content if content != "other" else make_study(seed=3).to_json())
    for use in (lambda: load(folder), lambda: check_can_hold(folder, make_study()), lambda: open_store(folder)):
        with pytest.raises(
            DataError, match=f"^{study} (is damaged|was altered).*remove it and run the same command again"
        ):
            use()
    study.unlink()
    xr.testing.assert_identical(load(folder), run[1])
    with open_store(folder) as store:
        assert store.notes == [f"{study} is missing; it is written anew"]
        assert list(store.todo()) == []
    assert json.loads(study.read_text()) == json.loads((run[0] / "study.json").read_text())


def test_study_of_other_length(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    (folder / "study.json").write_text(make_study(7).to_json())
    with pytest.raises(DataError, match=r"study.json is of 7 trials, and the results beside it of 10"):
        load(folder)
    with open_store(folder):
        pass
    xr.testing.assert_identical(load(folder), run[1])


def test_all_metadata_lost(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    for path in folder.rglob("zarr.json"):
        if path.parent.name != "blocks":
            path.unlink()
    with open_store(folder, block=7) as store:
        assert list(store.todo()) == []
        xr.testing.assert_identical(store.read(), run[1])
    (folder / "study.json").unlink()
    (folder / "results.zarr" / "zarr.json").unlink()
    with pytest.raises(InputError, match="holds something else"):
        check_can_hold(folder, make_study())


def test_damaged_while_it_grows(tmp_path: Path) -> None:
    """The block that is to be continued is damaged after it was checked."""
    whole_run(tmp_path / "x")
    with open_store(tmp_path / "x", 12) as store:
        damage(tmp_path / "x" / "results.zarr" / "accuracy" / "c.0.0.2.0", "altered")
        with pytest.raises(DataError, match=r"accuracy/c.0.0.2.0 is truncated or altered; the command that made it"):
            fill(store)
    with open_store(tmp_path / "x", 12) as store:
        assert list(store.todo()) == [(8, 4)]
    xr.testing.assert_identical(whole_run(tmp_path / "x", 12), whole_run(tmp_path / "y", 12))


def test_another_format(tmp_path: Path, run: tuple[Path, xr.Dataset]) -> None:
    from jaxinv.store import hierarchy

    folder = tmp_path / "x"
    shutil.copytree(run[0], folder)
    path = folder / "results.zarr" / "zarr.json"
    root = json.loads(path.read_text())
    root["consolidated_metadata"]["metadata"]["blocks"]["attributes"]["format"] = 2
    root["attributes"]["checksum"] = hierarchy.checksum(root)
    path.write_text(json.dumps(root))
    with pytest.raises(DataError, match="is of another version of jaxinv"):
        load(folder)
    with pytest.raises(DataError, match="is of another version of jaxinv"):
        open_store(folder)


def test_chunks_are_what_the_format_says(run: tuple[Path, xr.Dataset]) -> None:
    """CRC-32C by hand, and not zlib's CRC-32, which others would not accept."""
    data = (run[0] / "results.zarr" / "done" / "c.0").read_bytes()
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data[:-4]:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    assert (crc ^ 0xFFFFFFFF).to_bytes(4, "little") == data[-4:] != zlib.crc32(data[:-4]).to_bytes(4, "little")
    assert np.array_equal(run[1].done.values, [True] * 10)
