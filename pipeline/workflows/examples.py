"""Documents that come with shipped workflows, so that each can be tried with one command."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "shipped" / "examples"
SOURCE = "example-{}"
"""The source that the documents of an example are read into, by the workflow's name."""


def example_documents(name: str) -> Path | None:
    """The folder with the documents of a workflow's example; None where it needs none."""
    folder = FOLDER / name.replace("-", "_")
    return folder if folder.is_dir() else None
