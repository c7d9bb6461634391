"""What mkdocs calls: adds the pages that are generated, and those that live beside `docs/`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # mkdocs loads this file by its path
    sys.path.insert(0, str(ROOT))

from docsite import architecture, reference  # noqa: E402 - after the path is set

GENERATED = {
    "reference/config.md": reference.config_page,
    "reference/cli.md": reference.cli_page,
    "reference/python.md": reference.python_page,
    "reference/http.md": reference.http_page,
    "architecture.md": architecture.page,
    "images/architecture.svg": architecture.picture,
}
"""Generated pages and pictures, by their place below `docs/`."""
COPIED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that live beside `docs/`, and where the site has them."""
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Adds pages that nobody put into the navigation to its how-to section, so that a new page is always found."""
    named = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    there = (
        path.relative_to(config["docs_dir"]).as_posix() for path in Path(config["docs_dir"]).rglob("*.md")
    )
    (how_to,) = [section["How to"] for section in config["nav"] if "How to" in section]
    how_to += sorted(set(there) - named)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds what is not written by hand."""
    from mkdocs.structure.files import File

    for place, content in GENERATED.items():
        files.append(File.generated(config, place, content=content()))
    for source, place in COPIED.items():
        files.append(File.generated(config, place, content=_from_above((ROOT / source).read_text())))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Lets who has no mouse scroll a table that is wider than the screen."""
    return html.replace("<table>", '<div class="scrolls" tabindex="0"><table>').replace(
        "</table>", "</table></div>"
    )


def on_post_page(output: str, **_: Any) -> str:
    """Names the search dialog, which the theme leaves without a name for who cannot see it."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def _from_above(markdown: str) -> str:
    """A page that lived beside `docs/`, as it reads inside."""
    return _LINK.sub(
        lambda link: f"]({link['target'].removeprefix('docs/')}{link['anchor'] or ''})", markdown
    )
