"""`jaxinv report DIR`: find what a folder stores, and write the page beside it."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv import store
from jaxinv.errors import DataError, InputError
from jaxinv.report.datasets import Datasets
from jaxinv.report.page import MARK, Page
from jaxinv.report.part import Part
from jaxinv.report.words import READINGS
from jaxinv.utils import files

HTML, MARKDOWN, CSV, PICTURES = "report.html", "report.md", "report.csv", "report_files"
COLUMNS = ["study", "arm", "learning_rate", "trial", "step", "accuracy", "test_loss", "diverged"]
HEAD_BYTES = 4096  # our mark stands near the beginning of a file


def write_report(
    folder: str | os.PathLike[str],
    *,
    bounds: Mapping[str, float] | None = None,
    border: np.ndarray | None = None,
    command: str | None = None,
) -> Path:
    """Write `report.html`, `report.md` with its pictures in `report_files/`, and the raw values as `report.csv`.

    The same results give the same bytes. A report of an earlier call is replaced.

    Args:
        folder: a stored run, a folder of `jaxinv replicate`, or one of `jaxinv claims`.
        bounds: arm -> learning rate up to which gradient descent is stable at the start, for the learning-rate figure;
            by default what `jaxinv.theory` says, where there are several learning rates and the dataset is at hand.
        border: bool [H, W], pixels never on in training; by default from the dataset, where it is at hand.
        command: what makes the results; by default what the studies say.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: no results there; or a file of one of these names that jaxinv did not write. Nothing was touched.
        DataError: results are damaged or no trial is done, or the folder cannot be written.
    """
    root = Path(folder)
    page = read_folder(root, bounds=bounds, border=border, command=command)
    contents: dict[Path, bytes] = {}
    if page.parts:
        contents[root / CSV] = values_csv(page.parts).encode()
        contents |= {root / PICTURES / name: content for name, content in page.picture_files().items()}
    contents[root / MARKDOWN] = page.markdown(PICTURES).encode()
    contents[root / HTML] = page.html().encode()  # last: whoever finds it finds the rest
    if (root / PICTURES).is_symlink():
        raise InputError(f"folder: {root / PICTURES} is a link, not a folder that jaxinv made; move it away first")
    for path in contents:
        _check_ours(path)
    try:
        if page.parts:
            (root / PICTURES).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{root / PICTURES}: cannot be made: {error.strerror}") from None
    for path, content in contents.items():
        files.write_bytes(path, content)
    for path in (root / PICTURES).glob("*.png"):  # of an earlier report, which this one no longer shows
        if path not in contents and not path.is_symlink() and _ours(path):
            path.unlink(missing_ok=True)
    return root / HTML


def read_folder(
    folder: str | os.PathLike[str],
    *,
    bounds: Mapping[str, float] | None = None,
    border: np.ndarray | None = None,
    command: str | None = None,
) -> Page:
    """The page that a folder's stored results make."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"folder: {str(root)!r} is not a folder; give one with results in it")
    summary, claims = _json(root / "summary.json"), _json(root / "claims.json")
    published = _published(summary, root)
    parts, at_hand = [], Datasets()
    for name in _studies(root):
        results = store.load(root / name if name else root)
        if "done" in results and not results["done"].values.any():
            raise DataError(f"{root / name if name else root}: none of its {results.sizes['trial']} trials is done yet")
        parts.append(
            Part(
                results=results,
                name=name,
                border=border if border is not None else at_hand.border(results),
                bounds=bounds if bounds is not None else at_hand.bounds(results),
                published=published if name == "as_written" and published else None,
            )
        )
    if not parts and claims is None:
        raise InputError(f"folder: {str(root)!r} holds no results; give the folder of a run, replicate or claims")
    spent = (claims or summary or {}).get("seconds")
    seconds = {"total": spent} if isinstance(spent, int | float) else spent if isinstance(spent, dict) else {}
    listed = [] if claims is None else claims.get("claims")
    if not isinstance(listed, list):
        raise DataError(f"{root / 'claims.json'}: holds no list of claims")
    return Page(
        parts=parts,
        published=published or {},
        claims=listed,
        about=claims or {},
        seconds={name: float(value) for name, value in seconds.items() if isinstance(value, int | float)},
        csv=CSV if parts else None,
        command=command,
    )


def values_csv(parts: Sequence[Part]) -> str:
    """Every finished trial's values, one evaluation to a line; text that gives back the stored float32 exactly."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for part in parts:
        results = part.results
        done = np.asarray(results["done"].values, bool) if "done" in results else np.ones(part.planned, bool)
        trials = np.asarray(results["trial"].values)[done]
        order = ("arm", "learning_rate", "trial", "step")
        accuracy = results["accuracy"].transpose(*order).values[:, :, done]
        loss = results["test_loss"].transpose(*order).values[:, :, done]
        diverged = results["diverged"].transpose(*order[:3]).values[:, :, done]
        for a, arm in enumerate(part.arms):
            for r, rate in enumerate(part.rates):
                for t, trial in enumerate(trials.tolist()):
                    flag = int(diverged[a, r, t])
                    rows = zip(part.steps, accuracy[a, r, t].astype(str), loss[a, r, t].astype(str), strict=True)
                    writer.writerows([part.name, arm, rate, trial, step, hit, miss, flag] for step, hit, miss in rows)
    return text.getvalue()


def _studies(root: Path) -> list[str]:
    if (root / "results.zarr").is_dir():
        return [""]
    found = sorted(path.name for path in root.iterdir() if (path / "results.zarr").is_dir())
    first = [name for name in READINGS if name in found]
    return first + [name for name in found if name not in READINGS]


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds no JSON object")
    return value


def _published(summary: dict[str, Any] | None, root: Path) -> dict[str, float] | None:
    value = (summary or {}).get("published")
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(number, int | float) for number in value.values()):
        raise DataError(f"{root / 'summary.json'}: published holds no figure for each arm")
    return {str(arm): float(number) for arm, number in value.items()}


def _check_ours(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_file():
        raise InputError(f"folder: {path} is not a file that jaxinv wrote; move it away first")
    if not _ours(path):
        raise InputError(f"folder: {path} was not written by jaxinv and is not overwritten; move it away first")


def _ours(path: Path) -> bool:
    """Whether a file has the mark that jaxinv leaves in files of its kind."""
    marks = {
        ".html": MARK.encode(),
        ".md": MARK.encode(),
        ".csv": ",".join(COLUMNS).encode() + b"\n",
        ".png": b"Software\x00jaxinv",
    }
    with path.open("rb") as stream:
        return marks[path.suffix] in stream.read(HEAD_BYTES)
