"""Models as files that run without the zoo: recorded graphs (``torch-export``) and compiled libraries (``aoti``).

Start with ``package.py`` (writes a file) and ``loaded.py`` (runs one).
"""

from zoo.exporting.loaded import ExportedModel, load_exported
from zoo.exporting.package import FORMATS, export

__all__ = ["FORMATS", "ExportedModel", "export", "load_exported"]
