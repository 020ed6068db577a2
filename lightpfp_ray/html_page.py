"""Pieces of a report in HTML: one page that needs nothing from outside of itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #202124;
       background: #fff; margin: 0 auto; max-width: 1080px; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 8px;
     border-bottom: 1px solid #dadce0; padding-bottom: 4px; }
h3 { font-size: 15px; margin: 18px 0 4px; }
p { margin: 6px 0; max-width: 75ch; } .quiet { color: #5f6368; }
nav { margin: 10px 0 0; } nav a { margin-right: 14px; color: #0b6e99; text-decoration: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; white-space: nowrap; }
th { color: #5f6368; font-weight: 600; border-bottom: 1px solid #dadce0; }
td.number, th.number { text-align: right; }
figure { margin: 12px 0; } figure img { max-width: 100%; height: auto; }
figcaption { color: #5f6368; max-width: 75ch; }
code, pre { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: #f6f8f9; padding: 12px; overflow-x: auto; border-radius: 4px; }
summary { cursor: pointer; color: #0b6e99; }
@media print { nav { display: none; } details[open] pre { white-space: pre-wrap; } }
"""

Cell = str | float | int | None


def page(title: str, subtitle: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """The whole page; a section is (anchor, heading, HTML)."""
    sections = list(sections)
    links = "".join(f'<a href="#{anchor}">{escape(head)}</a>' for anchor, head, _ in sections)
    body = "\n".join(
        f'<section id="{anchor}">\n<h2>{escape(head)}</h2>\n{html}\n</section>'
        for anchor, head, html in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="quiet">{escape(subtitle)}</p>\n'
        f"<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table; a column of numbers is aligned to the right. None is shown as a dash."""
    rows = [list(row) for row in rows]
    numeric = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(head)
    lines = [_row("th", head, numeric)]
    lines += [_row("td", [shown(cell) for cell in row], numeric) for row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _is_numeric(column: Sequence[Cell]) -> bool:
    return any(isinstance(c, (int, float)) for c in column) and not any(
        isinstance(c, str) for c in column
    )


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    def cell(text: str, number: bool) -> str:
        kind = ' class="number"' if number else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    return "<tr>" + "".join(map(cell, cells, numeric)) + "</tr>"


def shown(cell: Cell) -> str:
    """A cell as text: floats with four digits."""
    if cell is None or cell != cell:
        return "\N{EN DASH}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1e4 <= abs(cell) < 1e7 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def picture(png: bytes, caption: str) -> str:
    """An image in the page itself."""
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def folded(summary: str, text: str) -> str:
    """Text that is shown when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
