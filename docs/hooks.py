"""How the site differs from the same pages on a git host: links, marks of blocks, drawings, files outside docs/."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "examples/README.md")
FILES = ("LICENSE", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*.py"))))
NOTEBOOK = HERE / "tutorial.ipynb"
PLACES = {"README.md": "index.md", "docs/tutorial.ipynb": "notebook.md"}

MARKED = re.compile(r"^```(\w+) [\w-]+$", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
ROLE = re.compile(r":\w+:<code>(\w+)</code>")  # :func:`stream` in a docstring
IMAGE = re.compile(r'<img alt="([^"]*)" src="([^"]*\.svg)"[^>]*>')


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and files of the repository that pages link to, and the notebook as a page."""
    for path in (*PAGES, *FILES):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "notebook.md", content=notebook(json.loads(NOTEBOOK.read_text("utf-8")))))
    return files


def notebook(cells: dict[str, Any]) -> str:
    """The cells of a notebook as one page of Markdown."""
    parts = (("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells["cells"])
    return "\n\n".join(f"```python\n{text}\n```" if code else text for text, code in parts)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Takes off the marks that say how tests run a block, and makes links lead to pages of the site."""
    here = page.file.src_uri
    unmarked = MARKED.sub(r"```\1", markdown)
    return LINK.sub(lambda link: relative(link[1], here), unmarked)


def relative(link: str, here: str) -> str:
    """A link between two files of the repository, as it is between their places in the site."""
    folder = posixpath.dirname(here if here in PAGES else f"docs/{here}")
    target = posixpath.normpath(posixpath.join(folder, link))
    place = PLACES.get(target, target.removeprefix("docs/")) if here != "notebook.md" else target.removeprefix("docs/")
    return posixpath.relpath(place, posixpath.dirname(here) or ".")


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Links names in docstrings, and puts our drawings into the page, so that they have the colours of its theme."""
    html = ROLE.sub(r'<a href="#flowgauge.\1"><code>\1</code></a>', html)
    return IMAGE.sub(lambda image: drawing(image[0], image[2]), html)


def drawing(image: str, source: str) -> str:
    path = HERE / posixpath.basename(source)
    text = path.read_text("utf-8") if path.exists() else ""
    return text.replace("\n", " ") if 'class="fg-figure' in text else image
