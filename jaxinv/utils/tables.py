"""Rows and tables as text, and as escaped HTML."""

import html
import shutil
import textwrap
from collections.abc import Sequence

WIDTH = 80


def room() -> int:
    """The columns of the terminal, but 80 at the least, and where there is none."""
    return max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)


def text_rows(rows: Sequence[tuple[str, str]], width: int = WIDTH) -> str:
    """`label  text` lines, the text wrapped beside its label."""
    margin = max(len(label) for label, _ in rows) + 2
    lines = []
    for label, text in rows:
        wrapped = textwrap.wrap(text, max(20, width - margin), break_on_hyphens=False) or [""]
        lines.append(f"{label:<{margin}}{wrapped[0]}")
        lines += [" " * margin + line for line in wrapped[1:]]
    return "\n".join(lines)


def text_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns under a ruled head: the first `left` to the left, the others to the right.

    Where that takes more columns than there are, what stands to the left gets a line of its own.

    >>> print(text_table([["arm", "n"], ["normal", "10"], ["raw", "5"]]))
    arm      n
    ----------
    normal  10
    raw      5
    """
    made = _aligned(rows, left)
    longest = max(map(len, made))
    if longest <= room():
        return "\n".join([made[0], "-" * longest, *made[1:]])
    figures = ["  " + line for line in _aligned([row[left:] for row in rows], 0)]
    names = [textwrap.wrap(" - ".join(row[:left]), room(), break_on_hyphens=False) for row in rows]
    body = [line for name, line in zip(names[1:], figures[1:], strict=True) for line in (*name, line)]
    return "\n".join([*names[0], figures[0], "-" * max(map(len, body)), *body])


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
