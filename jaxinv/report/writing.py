"""Write a page beside the results that it shows, and never over a file of somebody else's."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from jaxinv.errors import DataError, InputError
from jaxinv.report.rendering import FIGURES, MARK, render_html, render_markdown
from jaxinv.report.sections import Page
from jaxinv.report.study import StoredStudy
from jaxinv.results.selection import AXES, done_trials, rates_used
from jaxinv.utils import files

HTML, MARKDOWN, CSV = "report.html", "report.md", "report.csv"
COLUMNS = ["study", "arm", "learning_rate", "trial", "step", "accuracy", "test_loss", "diverged", "rate"]
HEAD_BYTES = 4096  # our mark stands near the beginning of a file


def write_page(folder: str | os.PathLike[str], page: Page, studies: Sequence[StoredStudy]) -> Path:
    """Write `report.html`, `report.md` with its figures in `report_files/`, and the raw values as `report.csv`.

    The same results give the same bytes. A report of an earlier call is replaced.

    Args:
        folder: where.
        page: what to write.
        studies: whose raw values to write; none: no `report.csv`.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: a file of one of these names that jaxinv did not write. Nothing was touched.
        DataError: the folder cannot be written.
    """
    root = Path(folder)
    contents: dict[Path, bytes] = {root / CSV: values_csv(studies).encode()} if studies else {}
    contents |= {root / FIGURES / f"{figure.key}.png": figure.png for figure in page.figures}
    contents[root / MARKDOWN] = render_markdown(page).encode()
    contents[root / HTML] = render_html(page).encode()  # last: whoever finds it finds the rest
    if (root / FIGURES).is_symlink():
        raise InputError(f"folder: {root / FIGURES} is a link, not a folder that jaxinv made; move it away first")
    for path in contents:
        _check_ours(path)
    try:
        if page.figures:
            (root / FIGURES).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{root / FIGURES}: cannot be made: {error.strerror}") from None
    for path, content in contents.items():
        files.write_bytes(path, content)
    for path in (root / FIGURES).glob("*.png"):  # of an earlier report, which this one no longer shows
        if path not in contents and not path.is_symlink() and _ours(path):
            path.unlink(missing_ok=True)
    return root / HTML


def values_csv(studies: Sequence[StoredStudy]) -> str:
    """Every finished trial's values, one evaluation to a line; text that gives back the stored float32 exactly.

    A name that a spreadsheet would take for a formula has an apostrophe before it.
    """
    frames = []
    for study in studies:
        values = done_trials(study.results)
        values = values[["accuracy", "test_loss", "diverged"]].reset_coords(drop=True)
        arms = [_as_text(arm) for arm in study.arms]
        values = values.assign_coords(arm=arms, learning_rate=study.learning_rates, step=study.steps)
        values = values.assign(rate=(AXES[:2], rates_used(study.results)))
        frames.append(values.to_dataframe(dim_order=list(AXES)).reset_index().assign(study=_as_text(study.name)))
    rows = pd.concat(frames).astype({"diverged": int})
    return rows.to_csv(columns=COLUMNS, index=False, lineterminator="\n", na_rep="nan")


def _as_text(name: str) -> str:
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


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
        ".csv": ",".join(COLUMNS[:-1]).encode(),
        ".png": b"Software\x00jaxinv",
    }
    with path.open("rb") as stream:
        return marks[path.suffix] in stream.read(HEAD_BYTES)
