"""`jaxinv report DIR`: say what kind of folder it is, and write the page beside what it stores."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxinv.errors import DataError, InputError
from jaxinv.experiments.claims.page import claims_page
from jaxinv.experiments.claims.several import JUDGED, several_page
from jaxinv.experiments.inversion import READINGS
from jaxinv.experiments.published.page import experiment_page
from jaxinv.experiments.published.running import get_experiment
from jaxinv.experiments.recommendation.page import recommendation_page
from jaxinv.experiments.recommendation.running import SUMMARY
from jaxinv.experiments.replication_page import read_as, replication_page
from jaxinv.report.folder import read_studies
from jaxinv.report.pages import study_page
from jaxinv.report.sections import Page
from jaxinv.report.study import StoredStudy
from jaxinv.report.writing import CSV, write_page
from jaxinv.utils.files import local_path


def write_report(
    folder: str | os.PathLike[str],
    *,
    bounds: Mapping[str, float] | None = None,
    border: np.ndarray | None = None,
    command: str | None = None,
) -> Path:
    """Write `report.html`, `report.md` with its figures in `report_files/`, and the raw values as `report.csv`.

    The same results give the same bytes. A report of an earlier call is replaced.

    Args:
        folder: a stored run, a folder of `jaxinv replicate`, one of `jaxinv claims`, or one with stored runs in it.
        bounds, border: as for `jaxinv.report.folder.read_studies`.
        command: what makes the results; by default what the studies say.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: no results there; or a file of one of these names that jaxinv did not write. Nothing was touched.
        DataError: results are damaged or no trial is done, or the folder cannot be written.
    """
    page, studies = read_page(folder, bounds=bounds, border=border, command=command)
    return write_page(folder, page, studies)


def read_page(
    folder: str | os.PathLike[str],
    *,
    bounds: Mapping[str, float] | None = None,
    border: np.ndarray | None = None,
    command: str | None = None,
) -> tuple[Page, list[StoredStudy]]:
    """The page that a folder's stored results make, and the studies that it shows."""
    root = local_path("folder", folder)
    judged, summary = _read_json(root / "claims.json"), _read_json(root / "summary.json")
    by_dataset = _read_json(root / JUDGED)
    if by_dataset is not None:
        return several_page(by_dataset, command=command), []
    if (recommended := _read_json(root / SUMMARY)) is not None:
        return recommendation_page(recommended, command=command), read_studies(root, bounds={}, border=border)
    published = _published(summary, root)
    studies = read_studies(root, bounds=bounds, border=border)
    listed = [] if judged is None else judged.get("claims")
    if not isinstance(listed, list):
        raise DataError(f"{root / 'claims.json'}: holds no list of claims")
    if not studies and judged is None:
        raise InputError(f"folder: {str(root)!r} holds no results; give the folder of a run, replicate or claims")
    seconds, csv = _seconds(judged or summary or {}), CSV if studies else ""
    if judged is not None and listed:
        return claims_page(judged, studies, seconds=seconds, csv=csv, command=command), studies
    if summary is not None and "experiment" in summary:
        return _experiment_page(summary, root, studies, seconds=seconds, csv=csv, command=command), studies
    if {study.name for study in studies} >= set(READINGS):
        studies = read_as(studies, published)
        page = replication_page(studies, published=published, seconds=seconds, csv=csv, again=command)
        return page, studies
    return study_page(studies, command=command, seconds=seconds, csv=csv), studies


def _experiment_page(summary: dict[str, Any], root: Path, studies: list[StoredStudy], **options: Any) -> Page:
    """The page of a replicated experiment.

    Raises:
        DataError: its summary lacks something, or names no experiment.
    """
    missing = {"experiment", "size", "seed", "verdict", "figures", "statements"} - set(summary)
    if missing:
        raise DataError(f"{root / 'summary.json'}: has no {', '.join(sorted(missing))}")
    experiment = get_experiment(summary["experiment"])
    return experiment_page(summary, experiment, studies, titles=summary.get("titles", {}), **options)


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds no JSON object")
    return value


def _published(summary: dict[str, Any] | None, root: Path) -> dict[str, float]:
    value = (summary or {}).get("published")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(number, int | float) for number in value.values()):
        raise DataError(f"{root / 'summary.json'}: published holds no figure for each arm")
    return {str(arm): float(number) for arm, number in value.items()}


def _seconds(document: Mapping[str, Any]) -> dict[str, float]:
    spent = document.get("seconds")
    named = spent if isinstance(spent, dict) else {"total": spent}
    return {str(name): float(value) for name, value in named.items() if isinstance(value, int | float)}
