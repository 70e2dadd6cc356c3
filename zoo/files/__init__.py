"""Files on disk: written whole or not at all, unpacked when compressed, strict YAML in and out, and `$ZOO_HOME`.

Start with ``atomic_writes.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.files.atomic_writes import replacing, write_text
    from zoo.files.hashing import sha256_of
    from zoo.files.unpack import unpacked
    from zoo.files.yaml_loader import load_yaml, parse_yaml
    from zoo.files.yaml_writer import dump_yaml
    from zoo.files.zoo_home import home

__all__ = ["dump_yaml", "home", "load_yaml", "parse_yaml", "replacing", "sha256_of", "unpacked", "write_text"]

__getattr__ = lazy_names(__name__, {
    "dump_yaml": "yaml_writer", "home": "zoo_home", "load_yaml": "yaml_loader", "parse_yaml": "yaml_loader",
    "replacing": "atomic_writes", "sha256_of": "hashing", "unpacked": "unpack", "write_text": "atomic_writes",
})
