"""The client's side of the tests: snippets run in fresh processes under one generation of `huggingface_hub`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRELOADED = (
    *("pydantic", "yaml", "safetensors", "numpy", "typer", "rich.table", "rich.progress", "pluggy"),
    *("httpx2", "httpcore2", "httpx", "httpcore", "h11", "anyio", "ssl", "asyncio", "concurrent.futures.thread"),
    *("zoo.cards.card", "zoo.registry.names", "zoo.loading.resolution", "zoo.cli.hub", "zoo.cards.weights"),
    *("safetensors.numpy", "zoneinfo"),
    *("filelock", "tqdm.auto", "fsspec", "importlib.metadata", "uuid", "email.utils", "http.cookiejar", "difflib"),
)

TORCH = (*PRELOADED, "torch", "ase.build", "zoo.loading.models", "zoo.data.of_card")


@dataclass
class Outcome:
    """What a snippet left: its `result`, or the error it ended with; what it printed; how long it took."""

    result: Any
    error: list[str] | None
    message: str
    code: int | None
    output: str
    seconds: float
    modules: list[str]

    def ok(self) -> Any:
        assert self.error is None, self.output
        return self.result


@dataclass
class Job:
    """A snippet under way."""

    pid: int
    answer: Path

    def wait(self, timeout: float = 60.0) -> Outcome:
        """Its outcome; a killed process has the error ``Killed``; one over time is killed and fails the test."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.answer.exists():
                return Outcome(**json.loads(self.answer.read_text()))
            if not self.alive() and not self.answer.exists():
                return Outcome(None, ["Killed"], "", None, "", 0.0, [])
            time.sleep(0.005)
        self.kill()
        raise AssertionError(f"no answer within {timeout} s")

    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        if self.alive():
            os.kill(self.pid, 9)


class ForkServer:
    """One interpreter with one generation of the client on its path."""

    def __init__(self, path: Path | None, preload: tuple[str, ...] = PRELOADED) -> None:
        env = dict(os.environ)
        if path is not None:
            env["PYTHONPATH"] = os.pathsep.join([str(path), env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        command = [sys.executable, str(HERE / "forkserver.py"), *preload]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.env = env
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def start(self, request: dict) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()  # it has nothing to finish
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@dataclass
class Client:
    """Someone's machine: a home of its own, and the hub it talks to."""

    server: ForkServer
    home: Path
    endpoint: str
    env: dict[str, str] = field(default_factory=dict)
    jobs: int = 0
    answers: Path | None = None

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)

    @property
    def cache(self) -> Path:
        return self.home / "hf" / "hub"

    def environment(self) -> dict[str, str]:
        keep = {k: v for k, v in self.server.env.items() if not k.startswith(("HF_", "ZOO_", "HUGGING"))}
        ours = {
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "ZOO_HOME": str(self.home / "zoo"),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_ETAG_TIMEOUT": "10",
            "HF_HUB_DOWNLOAD_TIMEOUT": "10",
            "ZOO_HUB_WAIT": "0.05",
            "LONGEST_SLEEP": "0.05",
            "COLUMNS": "200",
        }
        return {k: v for k, v in {**keep, **ours, **self.env}.items() if v}

    def hurry(self) -> None:
        """Wait half a second instead of ten, for the tests in which nothing comes."""
        self.env["TIMEOUT"] = "0.5"

    def start(self, snippet: str, *args: Any) -> Job:
        self.jobs += 1
        answer = (self.answers or self.home) / f"answer-{self.jobs}.json"
        request = {"snippet": snippet, "args": args, "env": self.environment(), "cwd": str(self.home)}
        return Job(self.server.start({**request, "answer": str(answer)}), answer)

    def run(self, snippet: str, *args: Any, timeout: float = 60.0) -> Outcome:
        return self.start(snippet, *args).wait(timeout)

    def zoo(self, *words: str, timeout: float = 60.0) -> Outcome:
        """The command line, as it is typed."""
        snippet = "import sys\nsys.argv = ['zoo', *args]\nfrom zoo.cli import main\nmain()\nraise SystemExit(0)"
        return self.run(snippet, *words, timeout=timeout)

    def push(self, *options: str, timeout: float = 90.0) -> Outcome:
        """Push the card folder `tiny`."""
        return self.zoo("push", "tiny", "zoo-org/tiny", *options, timeout=timeout)
