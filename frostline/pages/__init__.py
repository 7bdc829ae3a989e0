"""What every page has in common: one file with everything inside, light and dark, no script, nothing fetched.

    base.html.j2    the frame of a page: its head, title and summary; a page's own template extends it
    parts.html.j2   macros for cards, charts and tables, which take the records of parts.py
    style.css       the one style sheet

Whatever comes from outside, captions above all, is escaped by the template.
"""

from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent


def render(template: Path, page: Any) -> str:
    """A page as HTML: a record with title, summary, missing and what its template shows."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(page=page)
