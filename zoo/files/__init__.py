"""Files on disk: written whole or not at all, unpacked when compressed, strict YAML in and out, and `$ZOO_HOME`.

Start with ``replacing.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.files.home import home
    from zoo.files.replacing import replacing, write_text
    from zoo.files.unpack import unpacked
    from zoo.files.yaml_loader import load_yaml, parse_yaml
    from zoo.files.yaml_writer import dump_yaml

__all__ = ["dump_yaml", "home", "load_yaml", "parse_yaml", "replacing", "unpacked", "write_text"]

__getattr__ = lazy_names(__name__, {
    "dump_yaml": "yaml_writer", "home": "home", "load_yaml": "yaml_loader", "parse_yaml": "yaml_loader",
    "replacing": "replacing", "unpacked": "unpack", "write_text": "replacing",
})
