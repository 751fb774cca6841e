"""Rows and tables as text of at most 80 columns, and as escaped HTML."""

import html
import textwrap
from collections.abc import Sequence

WIDTH = 80


def text_rows(rows: Sequence[tuple[str, str]], width: int = WIDTH) -> str:
    """`label  text` lines, the text wrapped beside its label."""
    margin = max(len(label) for label, _ in rows) + 2
    lines = []
    for label, text in rows:
        wrapped = textwrap.wrap(text, max(20, width - margin), break_on_hyphens=False) or [""]
        lines.append(f"{label:<{margin}}{wrapped[0]}")
        lines += [" " * margin + line for line in wrapped[1:]]
    return "\n".join(lines)


def text_table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> str:
    """Columns, the first two to the left; where that is too wide, the first two columns get a line of their own."""
    table = _aligned(rows, left=2)
    if max(map(len, table)) <= width:
        return "\n".join(table)
    figures = _aligned([row[2:] for row in rows], left=0)
    lines = ["  " + figures[0]]
    for row, line in zip(rows[1:], figures[1:], strict=True):
        lines += textwrap.wrap(f"{row[0]} - {row[1]}", width, break_on_hyphens=False)
        lines.append("  " + line)
    return "\n".join(lines)


def html_rows(rows: Sequence[tuple[str, str]]) -> str:
    """A table of labels and texts."""
    body = "".join(f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in rows)
    return f"<table>{body}</table>"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table with a header."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if k < left else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
