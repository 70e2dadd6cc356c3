"""Write the site into a folder: all pages of the documentation with search, and the gallery of models.

    python docs/make_site.py build/site

Needs the `docs` extra. A link that leads nowhere, and anything else that MkDocs warns of, is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from zoo.gallery import write_gallery

ROOT = Path(__file__).resolve().parents[1]
ABOVE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md",
         "SECURITY.md": "security.md"}
_SOURCE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:tests|zoo|plugins|benchmarks|cards|examples)/[^)]*\)")
SECTIONS = {"Guides": "guides", "Reference": "reference", "Experiments": "experiments"}


def main() -> int:
    """Build, and end with the status of MkDocs."""
    out = Path(sys.argv[1]).absolute()
    with TemporaryDirectory() as made:
        pages = Path(made) / "docs"
        gather(pages)
        settings = Path(made) / "mkdocs.yml"
        settings.write_text(yaml.safe_dump(configuration(pages, out), sort_keys=False), encoding="utf-8")
        quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", str(settings)]
        done = subprocess.run(command, env=quiet)
    if done.returncode == 0:
        write_gallery(out / "gallery")
    return done.returncode


def gather(pages: Path) -> None:
    """All pages in one folder, with links that hold there."""
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in pages.rglob("*.md"):
        path.write_text(moved(path.read_text(encoding="utf-8"), up="../"), encoding="utf-8")
    for name, new in ABOVE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (pages / new).write_text(moved(text.replace("](docs/", "](")), encoding="utf-8")


def moved(text: str, up: str = "") -> str:
    """The text with the names that pages from above the documentation have on the site, in its top folder.

    Links to files of the source tree become plain text: the site does not hold them.

    Args:
        up: the step out of the folder of the documentation, which links in it take.
    """
    for name, new in ABOVE.items():
        text = re.sub(rf"\]\({re.escape(up)}((?:\.\./)*){re.escape(name)}", rf"](\g<1>{new}", text)
    return _SOURCE.sub(r"\1", text)


def configuration(pages: Path, out: Path) -> dict[str, Any]:
    """Settings of MkDocs; the navigation follows the folders."""
    nav: list[Any] = [{"Zoo": "index.md"}, {"Models": "models.md"}]
    nav += [{title: sorted(path.relative_to(pages).as_posix() for path in (pages / folder).glob("*.md"))}
            for title, folder in SECTIONS.items()]
    nav.append({"Project": ["architecture.md", "glossary.md", "contributing.md", "changelog.md", "security.md"]})
    return {
        "site_name": "Zoo", "docs_dir": str(pages), "site_dir": str(out), "use_directory_urls": False, "nav": nav,
        "theme": {"name": "material", "font": False, "features": ["content.code.copy", "navigation.sections"]},
        "plugins": ["search"], "markdown_extensions": ["tables", "toc", "pymdownx.superfences", "md_in_html"],
        "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}},
    }


if __name__ == "__main__":
    sys.exit(main())
