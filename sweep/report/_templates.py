"""Templates of the report's pages."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from frozen.terminal import printable

PAGE = Path(__file__).parent / "page"
"""Folder of templates, styles and scripts."""


def template(name: str) -> jinja2.Template:
    """A page's template, in which every value is escaped and a missing one is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def style() -> Markup:
    """The style sheet of all pages."""
    return Markup((PAGE / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
