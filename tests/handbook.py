"""A small organisation's documents, made into a workspace with the real model; parsing stays in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fast_parts import InlineParser, scratch

from api.assembly import Workspace
from kernel.settings import Settings

DOCUMENTS = {
    "bod-19-02.md": "# BOD 19-02\n\nBOD 19-02 requires agencies to remediate critical vulnerabilities within "
    "15 calendar days of initial detection.\n",
    "bod-22-01.md": "# BOD 22-01\n\nThis directive revokes BOD 19-02.\n\nAgencies must remediate vulnerabilities "
    "listed in the catalog within 14 days.\n",
    "leave.md": "# Parental leave\n\nAn employee may take 16 weeks of parental leave. The People Office approves "
    "each request.\n",
    "people.md": "# People Office\n\nThe People Office is led by Marta Silva. It sits on the third floor of the "
    "Lisbon building.\n",
    "expenses.md": "# Expenses\n\nReceipts are due within 30 days of the journey. Every claim needs:\n\n"
    "- the receipt itself\n- the name of the project\n- the approval of a manager\n",
    "guide.md": "# Printer guide\n\nThis page is outdated.\n\nThe printer on the second floor needs toner of "
    "type X12.\n",
}


@contextmanager
def handbook(models: Path, documents: Mapping[str, str] = DOCUMENTS) -> Iterator[Workspace]:
    """A workspace in which these files (name to text) are indexed."""
    with scratch() as root:
        fill(root / "docs", documents)
        with Workspace(Settings.load(home=root / "home", models=models, threads=1)) as made:
            made.indexer.ingest(InlineParser(), [root / "docs"], "handbook")
            yield made


def fill(folder: Path, documents: Mapping[str, str]) -> None:
    """Write the files."""
    folder.mkdir(exist_ok=True)
    for name, text in documents.items():
        (folder / name).write_text(text, encoding="utf-8")
