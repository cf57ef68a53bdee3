"""However documents came to be what they are, what is shown equals what an ingest from nothing shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from hypothesis import example, given
from hypothesis import strategies as st
from public_state import check_same_results, chunks, documents, results

from kernel.records import IngestReport

SENTENCES = (
    "Alpha Team keeps the Harbour Register in Lisbon.",
    "The Harbour Register was opened on 4 May 2021.",
    "This directive supersedes BOD 19-02.",
    "BOD 22-01 requires Alpha Team to patch within 14 days.",
    "This page is outdated.",
    "Beta Office amends the Travel Policy each year.",
    "Nothing of note happened.",
)
OUTDATED = "This page is outdated."
QUESTIONS = ("Who keeps the Harbour Register?", "Which directive supersedes BOD 19-02?", "Travel Policy")
NAMES = ("a.md", "b.md", "sub/c.txt", "records.jsonl")

body = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map("\n\n".join)
groups = st.sampled_from([None, [], ["a"], ["b"], ["b", "a"]])
titles = st.sampled_from([None, "BOD 19-02", "Travel Policy", "Alpha Team"])


def markdown(text: str, title: str | None, names: list[str] | None) -> str:
    head = [f"title: {title}"] if title else []
    head += [f"groups: {json.dumps(names)}"] if names is not None else []
    return "---\n" + "\n".join(head) + f"\n---\n\n{text}\n" if head else f"{text}\n"


def record(record_id: str, text: str, title: str | None, names: list[str] | None) -> str:
    values = {"id": record_id, "text": text, "title": title, "groups": names}
    return json.dumps({key: value for key, value in values.items() if value is not None})


lines = st.one_of(st.builds(record, st.sampled_from(["x", "y", "z"]), body, titles, groups), st.just("{broken"))
contents = {
    "a.md": st.builds(markdown, body, titles, groups) | st.just(""),
    "b.md": st.builds(markdown, body, titles, groups),
    "sub/c.txt": body | st.just(" \n"),
    "records.jsonl": st.lists(lines, max_size=4).map("\n".join),
}
change = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), st.none() | contents[name]))
Step = list[tuple[str, str | None]] | int
changes = st.lists(change, min_size=1, max_size=4)
histories = st.lists(changes | st.integers(0, 3), min_size=1, max_size=6)
"""Each step changes files and ingests, or rolls back by that many snapshots without an ingest."""


def ingest(made: FastWorkspace, folder: Path) -> IngestReport:
    (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
    return report


def take(made: FastWorkspace, folder: Path, step: Step) -> None:
    if isinstance(step, int):
        made.snapshots.rollback(max(0, made.snapshots.live().snapshot - step))
        return
    for name, content in step:
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    ingest(made, folder)


def check_equal(grown: FastWorkspace, fresh: FastWorkspace) -> None:
    """Both show the same, but for numbers that count events."""
    assert documents(grown) == documents(fresh)
    assert chunks(grown) == chunks(fresh)
    check_same_results(results(grown, QUESTIONS), results(fresh, QUESTIONS))


@pytest.mark.slow
@given(histories)
@example([[("records.jsonl", record("x", "One.", None, None) + "\n" + record("x", "Two.", None, None))], []])
@example([[("a.md", markdown("Text.", None, ["a"]))], [("a.md", None)], [("a.md", "Text.\n")]])
@example([[("a.md", markdown("Text.", None, ["a"]))], [("a.md", "")]])
@example([[("a.md", "Text.\n")], [("a.md", markdown("Text.", None, ["a"]))], 1, [("a.md", "Text.\n")]])
@example([[("b.md", markdown("Same.", "T", None))], [("a.md", markdown("Same.", "T", None))]])
@example(
    [
        [("records.jsonl", record("x", OUTDATED, "Travel Policy", None))],
        [("a.md", markdown(OUTDATED, "Travel Policy", None))],
    ]
)
def test_any_history_equals_an_ingest_from_nothing(history: list[Step]) -> None:
    with scratch() as root:
        folder = root / "folder"
        folder.mkdir()
        with fast_workspace(root / "grown") as grown, fast_workspace(root / "fresh") as fresh:
            for step in history:
                take(grown, folder, step)
            ingest(grown, folder)
            ingest(fresh, folder)
            check_equal(grown, fresh)
            check_idle(grown, folder)
            assert list(grown.verifier.faults()) == []


def check_idle(made: FastWorkspace, folder: Path) -> None:
    """Another ingest of what is there already changes nothing."""
    live, before = made.snapshots.live(), documents(made)
    report = ingest(made, folder)
    assert (report.added, report.changed, report.removed, report.snapshot) == (0, 0, 0, live.snapshot)
    assert report.unchanged == len(before)
    assert made.snapshots.live() == live
