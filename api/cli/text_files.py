"""Text files that a command is given or writes."""

from __future__ import annotations

import sys
from pathlib import Path

from kernel.errors import InvalidInput, Unavailable


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for `-`. Raises InvalidInput where it cannot be read."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeError as error:
        raise InvalidInput(f"cannot read {path}: it is not UTF-8 text") from error


def write_text(path: Path, text: str) -> None:
    """Write a file, or to standard output for `-`. Raises Unavailable where that fails."""
    if str(path) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error
