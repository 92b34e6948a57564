"""What every page is made in: one style sheet, one script, and a policy that forbids all else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from im_bench import __version__
from im_bench.errors import ImBenchError
from im_bench.files import write_text
from im_bench.report.page.svg import Drawing, shared_markers, style_sheet

FILE = "index.html"


def make_environment(*packages: str, **filters: Any) -> Environment:
    """Return what renders templates.

    Args:
        packages: Whose templates are found beside those of every page.
        filters: Of the templates, beside ``date``.
    """
    loaders = [PackageLoader(package) for package in (*packages, "im_bench.report.page")]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(date=date, **filters)
    return environment


def shell(title: str, drawings: Iterable[Drawing], made: datetime) -> dict[str, Any]:
    """Return what the template ``base.html`` shows.

    Args:
        title: Of the page.
        drawings: All that the page shows.
        made: When it is made.
    """
    drawings = list(drawings)
    css, js = _source("page.css") + style_sheet(drawings), _source("page.js")
    return {
        "title": title,
        "css": css,
        "js": js,
        "policy": _policy(css, js),
        "markers": shared_markers(drawings),
        "made": made,
        "version": __version__,
    }


def write_page(folder: Path, text: str) -> Path:
    """Write the page into a folder, which need not exist, and return the file.

    Raises:
        ImBenchError: If the folder is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ImBenchError(f"cannot write the page into {folder}, which is a file: name a folder")
    path = folder / FILE
    try:
        write_text(path, text)
    except OSError as error:
        raise ImBenchError(
            f"cannot write the page to {path} ({error.strerror}): name another folder with --to"
        ) from error
    return path


def _source(name: str) -> str:
    template = resources.files(__package__) / "templates" / name
    return template.read_text(encoding="utf-8")


def _policy(css: str, js: str) -> str:
    """Return a Content-Security-Policy under which nothing is fetched, and only ours is run."""
    return (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def date(moment: datetime) -> str:
    """Return ``25 November 2026, 19:40 UTC``."""
    moment = moment.astimezone(timezone.utc)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
