"""The section of a card whose weights are another package's: which file, where it is, and how it is converted."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from zoo.cards.section import Section
from zoo.cards.values import Sha256

__all__ = ["Source"]

# Reading it with `packaging` would cost `zoo list` 20 ms.
_VERSION = r"\s*(?:===?|[<>~!]=|[<>])\s*\d[\w.+!*-]*\s*"
_REQUIREMENT = re.compile(rf"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*({_VERSION}(?:,{_VERSION})*)?")


class Source(Section):
    """Where the weights of a model come from that another package's authors trained; the card's folder holds none.

    The file is in an installed ``package`` at ``path``, at a ``url``, or both.
    """

    reader: str = Field(description="Importer that converts the file, as `zoo import --help` lists it.")
    arguments: dict[str, Any] = Field({}, description="What the file does not say; `--set` of `zoo import`.")
    package: str | None = Field(None, description="Package that holds the file, with versions: `sevenn>=0.13,<0.14`.")
    path: str | None = Field(None, description="The file inside the package.")
    url: str | None = Field(None, description="Address of the file.")
    sha256: Sha256 = Field(description="Hash of the file, checked before it is read.")
    bytes: int = Field(ge=1, description="Size of the file.")
    converted_sha256: Sha256 = Field(description="Hash of the weights that the conversion gives.")
    parameters: int = Field(ge=0, description="Number of parameters that the conversion gives.")
    code_license: str | None = Field(None, description="Licence of the other package's code.")
    weights_license: str | None = Field(None, description="Licence of the weights.")
    homepage: str | None = Field(None, description="Page of the authors.")

    @field_validator("package")
    @classmethod
    def _is_a_requirement(cls, text: str | None) -> str | None:
        if text is not None and not _REQUIREMENT.fullmatch(text):
            raise ValueError(f"'{text}' is no name of a package with versions, such as sevenn>=0.13,<0.14")
        return text

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, text: str | None) -> str | None:
        if text is not None and (not text or "\\" in text or text.startswith("/") or ":" in text
                                 or any(part in ("", ".", "..") for part in text.split("/"))):
            raise ValueError(f"'{text}' is no path inside a package, such as sevenn/pretrained_potentials/x.pth")
        return text

    @field_validator("url")
    @classmethod
    def _names_a_file(cls, text: str | None) -> str | None:
        if text is not None:
            split = urlsplit(text)
            if split.scheme not in ("https", "http") or not split.hostname or not _last(text) or split.username:
                raise ValueError(f"'{text}' is no address of a file, such as https://host/folder/file.nqx")
        return text

    @model_validator(mode="after")
    def _is_somewhere(self) -> Source:
        if (self.package is None) != (self.path is None):
            raise ValueError("package and path belong together: the package that holds the file, and the file's path "
                             "inside it")
        if self.package is None and self.url is None:
            raise ValueError("needs a url, or a package with a path")
        return self

    @property
    def file(self) -> str:
        """Name of the foreign file."""
        return PurePosixPath(self.path).name if self.path is not None else _last(self.url or "")

    @property
    def requirement(self) -> tuple[str, str] | None:
        """The package's name and its versions, such as ``("sevenn", ">=0.13,<0.14")``."""
        match = None if self.package is None else _REQUIREMENT.fullmatch(self.package)
        return None if match is None else (match[1], match[2] or "")

    @property
    def install(self) -> str | None:
        """The command that brings the package, without what else it needs: only a file of it is read."""
        return None if self.package is None else f"pip install --no-deps '{self.package}'"


def _last(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return "" if name in (".", "..") or any(c in name for c in "\\/:\0") else name
