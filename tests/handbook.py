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


TOPICS = (
    *(
        "gardens",
        "bridges",
        "kettles",
        "sails",
        "lamps",
        "clocks",
        "ovens",
        "fences",
        "wells",
        "carts",
        "boats",
        "roofs",
    ),
    *("drains", "stairs", "paints", "gates", "tiles", "pumps", "bells", "tents", "looms", "mills", "kilns", "rafts"),
)
TERMS = "Redistribution is permitted as long as its notice stays."
WEBKIT = {
    "Purpose": "Small teams build pages with this toolkit. It draws widgets, forms and tables without any script.",
    "Parts": "For routing, Webkit Lite employs Starling. Templates are plain text files.",
    "History": "The first version was written in 2014 on a train to Porto. It grew by a few widgets every spring.",
    "Support": "Questions go to the forum, where volunteers reply within a week or so.",
}
STARLING = {
    "Overview": "Every request finds its handler by comparing a path with a tree of patterns.",
    "Speed": "A tree holds ten thousand patterns and still answers in microseconds on old hardware.",
    "Terms": TERMS,
    "Tests": "A suite runs on three systems each night and reports by mail.",
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


def with_sections(title: str, sections: Mapping[str, str]) -> str:
    return "\n\n".join([f"# {title}", *(f"## {name}\n\n{text}" for name, text in sections.items())]) + "\n"


def far_apart() -> Mapping[str, str]:
    """One document that names another, which answers; two dozen that do neither, and one with the question's words."""
    found = {
        "webkit.md": with_sections("Webkit Lite", WEBKIT),
        "starling.md": with_sections("Starling", STARLING),
        "books.md": "# Book room\n\nThe library keeps a copy of each licence plate that was ever issued.\n",
    }
    for number, topic in enumerate(TOPICS):
        sections = {
            "Care": f"Clean {topic} with a soft cloth twice a year and keep them out of strong sun.",
            "Repair": f"A carpenter repairs broken {topic} in workshop {number}, which opens on Monday and Friday.",
            "Buying": f"New {topic} are bought by the stores office once three offers have come in.",
        }
        found[f"{topic}.md"] = with_sections(f"Guide to {topic}", sections)
    return found
