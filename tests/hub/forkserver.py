"""Runs snippets, each in a process of its own that starts in milliseconds.

`huggingface_hub` reads its environment once, when it is imported, so every test needs a new process; what it is slow to
import besides is imported here, once. Reads one JSON request a line; the child writes its answer beside the request.
"""

import contextlib
import importlib
import io
import json
import os
import signal
import sys
import time
import traceback


def serve() -> None:
    for name in sys.argv[1:]:
        with contextlib.suppress(ModuleNotFoundError):  # the generations need different HTTP clients
            importlib.import_module(name)
    assert "huggingface_hub" not in sys.modules, "it has read its environment already"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(request)
        print(pid, flush=True)


def shorten_waits() -> None:
    """The client's pauses between tries last no longer than ``LONGEST_SLEEP``; its time-outs are ``TIMEOUT``.

    Both are in seconds. The client's own variables for time-outs hold whole seconds only.
    """
    sleep, longest = time.sleep, float(os.environ["LONGEST_SLEEP"])
    time.sleep = lambda seconds: sleep(min(seconds, longest))
    if "TIMEOUT" in os.environ:
        from huggingface_hub import constants

        constants.HF_HUB_ETAG_TIMEOUT = constants.HF_HUB_DOWNLOAD_TIMEOUT = float(os.environ["TIMEOUT"])


def run(request: dict) -> None:
    """The child: its own environment, folder and output, then the snippet; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    shorten_waits()
    output = io.StringIO()
    sys.stdout = sys.stderr = output
    answer: dict = {"result": None, "error": None, "message": "", "code": None}
    started = time.monotonic()
    scope: dict = {"args": request["args"], "result": None}
    try:
        exec(compile(request["snippet"], "<snippet>", "exec"), scope)
        answer["result"] = scope["result"]
    except SystemExit as stop:
        answer["code"] = stop.code or 0
    except BaseException as error:
        answer |= {"error": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
        traceback.print_exc(file=output)
    answer["seconds"] = time.monotonic() - started
    answer["output"] = output.getvalue()
    answer["modules"] = [name for name in ("torch", "huggingface_hub") if name in sys.modules]
    with open(request["answer"] + ".partial", "w") as handle:
        json.dump(answer, handle, default=str)
    os.replace(request["answer"] + ".partial", request["answer"])
    os._exit(0)


if __name__ == "__main__":
    serve()
