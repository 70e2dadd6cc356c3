"""What the static configuration cannot say: packages found by looking, two of them under a name of ours, and one file.

`plugins/` and `cards/` are top-level folders of the source tree, but no top-level packages of the wheel: they are
installed as `zoo_plugins` and `zoo_plugins.cards`. The root `registry.yaml` goes into the wheel beside the cards.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithRegistry(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copy2("registry.yaml", Path(self.build_lib) / "zoo_plugins" / "registry.yaml")


def packages(folder: str, name: str) -> list[str]:
    return [name, *(f"{name}.{inner}" for inner in find_packages(folder))]


setup(
    cmdclass={"build_py": BuildWithRegistry},
    packages=[*packages("zoo", "zoo"), *packages("plugins", "zoo_plugins"), "zoo_plugins.cards"],
    package_dir={"zoo": "zoo", "zoo_plugins": "plugins", "zoo_plugins.cards": "cards"},
)
