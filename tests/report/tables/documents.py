"""Programs that say whether a document is right: a LaTeX compiler, and a reader of HTML."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "br", "col", "link", "img", "hr"}


def require(program: str, package: str) -> str:
    """Return a program's path, or skip; where services are required, its absence is a failure."""
    path = shutil.which(program)
    if path is None:
        reason = f"no {program}: apt-get install --no-install-recommends {package}"
        if os.environ.get("IM_BENCH_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def compiled(text: str, folder: Path) -> Path:
    """Compile a LaTeX document with a real pdflatex and return the PDF; any error fails."""
    pdflatex = require("pdflatex", "texlive-latex-base texlive-latex-recommended")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.tex").write_text(text, encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run(
        [pdflatex, *options, "table.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "table.pdf"


def words(pdf: Path) -> str:
    """Return the text of a PDF, its blanks as one each."""
    pdftotext = require("pdftotext", "poppler-utils")
    done = subprocess.run([pdftotext, "-layout", pdf, "-"], capture_output=True, check=True)
    return " ".join(done.stdout.decode("utf-8").split())


@dataclass
class Element:
    """An element of a page with the text in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> list[Element]:
        """Return the elements of that name below this one, in the order of the page."""
        found = []
        for child in self.children:
            found += [child] if child.tag == tag else []
            found += child.all(tag)
        return found

    @property
    def words(self) -> str:
        """The text, its blanks as one each."""
        return " ".join(self.text.split())


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        closed = self.open.pop()
        self.open[-1].text += closed.text

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def read_html(text: str) -> Element:
    """Return the root of a page or fragment."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1
    return reader.open[0]
