"""The one thing the static configuration cannot say: the root `registry.yaml` goes into the wheel beside the cards."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRegistry(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copy2("registry.yaml", Path(self.build_lib) / "zoo_plugins" / "registry.yaml")


setup(cmdclass={"build_py": BuildWithRegistry})
