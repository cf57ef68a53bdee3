"""Tools over a real workspace: an agent sees what its principal may see, in the run's snapshot, under its policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_parts import ASKER, Site, ToyPeople, finish, site, tool
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch

from kernel.errors import NotFound
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.access import Withdrawals
from pipeline.workflows.agents.guard import PolicyGuard
from pipeline.workflows.agents.reach import CorpusReach
from pipeline.workflows.steps.base import Call, Done, Pins, StepFailed, Waits
from retrieval.documents import DocumentReader

PAGES = {
    "Backups": "Backups of Halden are kept for 30 days. They lie in Graz. "
    + " ".join(f"Rule {n} of the vault holds {n * n} boxes." for n in range(60)),
    "Vault": "The vault belongs to Halden and stands in Graz. It has two doors.",
    "Salaries": "---\ngroups: [board]\n---\nMira Sol earns 9,000 a month. That is her salary, in Graz.",
}
POLICY = """\
format: 1
name: strict
context:
  - {rule: no-vault, titles: [Vault], then: drop}
input:
  - {rule: no-weapons, phrases: [explosives], then: refuse, message: Not here.}
  - {rule: money, phrases: [salary], then: review}
output:
  - {rule: no-doors, phrases: [two doors], then: abstain, message: Doors are secret.}
  - {rule: days, phrases: [30 days], then: review}
"""


@pytest.fixture(scope="module")
def made() -> Iterator[FastWorkspace]:
    with scratch() as folder, fast_workspace(folder / "home") as workspace:
        put(workspace, folder / "pages", **PAGES)
        yield workspace


def put(workspace: FastWorkspace, folder: Path, **pages: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        body = text if text.startswith("---") else f"# {name}\n\n{text}"
        (folder / f"{name}.md").write_text(body)
    workspace.indexer.ingest(InlineParser(), [folder], "pages")


def reach_of(workspace: FastWorkspace) -> CorpusReach:
    return CorpusReach(
        workspace.snapshots,
        lambda: workspace.searcher,
        lambda: DocumentReader(workspace.library, workspace.corpus),
        lambda: workspace.entities,
        workspace.policies,
    )


def call_of(workspace: FastWorkspace, principal: Principal = ASKER, policy: str = "") -> Call:
    state = workspace.snapshots.live()
    policy = policy or workspace.policies.in_force().version.sha256
    pins = Pins("0" * 64, policy, state.snapshot, state.access_version, "scripted/toy-1")
    return replace(site(finish()).call(), principal=principal, pins=pins)


def titles(outcome: Any) -> set[str]:
    return {one["title"] for one in outcome.output["passages"]}


def test_search_shows_what_the_principal_may_see(made: FastWorkspace) -> None:
    reach = reach_of(made)
    seen = reach.search(call_of(made), "", "Graz salary of Mira", 10, 500)
    assert titles(seen) == {"Backups", "Vault"}
    assert all(len(one["text"]) <= 501 for one in seen.output["passages"])
    board = Principal("key_b", Role.APP, frozenset({"board"}))
    assert "Salaries" in titles(reach.search(call_of(made, board), "", "Graz salary of Mira", 10, 500))


def test_reading_goes_on_where_it_ended_and_gives_the_whole_text(made: FastWorkspace) -> None:
    reach, call = reach_of(made), call_of(made)
    document = next(one for one in made.catalog.documents(call.pins.snapshot, ASKER, limit=9) if one.title == "Backups")
    start, parts, seen = 0, [], set[str]()
    while start is not None:
        outcome = reach.read(call, "", document.id, start, 300)
        assert sum(len(one["text"].rstrip("…")) for one in outcome.output["passages"]) <= 300
        parts += [one["text"].rstrip("…") for one in outcome.output["passages"]]
        seen |= {chunk for chunk, _ in outcome.seen}
        assert outcome.output["goes_on_at"] is None or outcome.output["goes_on_at"] > start
        start = outcome.output["goes_on_at"]
    whole = made.catalog.text(document.id, 1)
    assert "".join("".join(parts).split()) in "".join(whole.split())
    assert len("".join("".join(parts).split())) > 0.95 * len("".join(PAGES["Backups"].split()))
    assert len(seen) == document.chunks


def test_what_may_not_be_seen_cannot_be_read_by_its_id(made: FastWorkspace) -> None:
    reach, call = reach_of(made), call_of(made)
    every = made.catalog.documents(call.pins.snapshot, LOCAL_OWNER, limit=9)
    hidden = next(one.id for one in every if one.title == "Salaries")
    board = call_of(made, Principal("key_b", Role.APP, frozenset({"board"})))
    chunk = reach.read(board, "", hidden, 0, 500).output["passages"][0]["passage"]
    for name in (hidden, chunk, "doc_none", "chk_none", "../etc/passwd"):
        with pytest.raises(NotFound, match=f"no document {name}"):
            reach.read(call, "", name, 0, 500)
    assert reach.read(board, "", chunk, 0, 500).ok


def test_the_graph_is_that_of_the_principal(made: FastWorkspace) -> None:
    reach, call = reach_of(made), call_of(made)
    near = reach.neighbours(call, "Halden", 20).output["neighbours"]
    assert "graz" in {one["name"] for one in near}
    tied = reach.path(call, "Halden", "Graz").output["path"]
    assert [one.get("name") for one in tied] == ["halden", None, "graz"]
    for hidden in ("Mira Sol", "mira", "ent_0000000000000000"):
        with pytest.raises(NotFound) as caught:
            reach.neighbours(call, hidden, 20)
        assert str(caught.value) == f"no entity named {hidden!r}"
    with pytest.raises(NotFound, match="begin so: halden"):
        reach.path(call, "Halden Ltd", "Graz")
    assert reach.neighbours(call_of(made, LOCAL_OWNER), "Mira Sol", 20).output["neighbours"]


def test_a_run_keeps_its_snapshot_and_loses_what_is_withdrawn(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as workspace:
        put(workspace, tmp_path / "pages", Backups="Backups are kept for 30 days.", Other="The other page.")
        reach, call = reach_of(workspace), call_of(workspace)
        put(workspace, tmp_path / "pages", Backups="Backups are kept for 99 days.", Newer="Backups and new pages.")
        shown = reach.search(call, "", "how long are backups kept", 10, 500)
        assert "30 days" in str(shown.output)
        assert "99 days" not in str(shown.output)
        assert titles(shown) == {"Backups", "Other"}
        document = next(one["document"] for one in shown.output["passages"] if one["title"] == "Backups")
        assert "30 days" in str(reach.read(call, "", document, 0, 500).output)
        Withdrawals(workspace.database).withdraw([document], {"reason": "wrong"})
        assert titles(reach.search(call, "", "how long are backups kept", 10, 500)) == {"Other"}
        with pytest.raises(NotFound):
            reach.read(call, "", document, 0, 500)


def policy_of(workspace: FastWorkspace) -> str:
    return workspace.policies.add(POLICY, "key_admin", "a policy").sha256


def test_what_the_policy_drops_is_neither_found_nor_read(tmp_path: Path) -> None:
    with fast_workspace(tmp_path / "home") as workspace:
        put(workspace, tmp_path / "pages", **PAGES)
        reach, strict = reach_of(workspace), call_of(workspace, policy=policy_of(workspace))
        assert titles(reach.search(strict, "", "vault in Graz", 10, 500)) == {"Backups"}
        plain = reach.search(call_of(workspace), "", "vault in Graz", 10, 500)
        vault = next(one["document"] for one in plain.output["passages"] if one["title"] == "Vault")
        assert reach.read(strict, "", vault, 0, 500).output["passages"] == []


def agent_on(workspace: FastWorkspace, *replies: Any, policy: str = "", **more: Any) -> Site:
    one = site(*replies, reach=reach_of(workspace), **more)
    one.pins = call_of(workspace, policy=policy).pins
    one.more["guard"] = PolicyGuard(workspace.policies)
    one.people = ToyPeople()
    return one


def test_an_agent_over_real_documents(made: FastWorkspace) -> None:
    one = agent_on(
        made,
        tool("search", query="how long are backups of Halden kept"),
        tool("read", document="c1"),
        finish("30 days [c1]"),
    )
    output = one.run().output
    assert output["citations"][0].startswith("chk_")
    assert [line["ok"] for line in output["decisions"]] == [True] * 3


def test_the_policy_refuses_goals_and_results(made: FastWorkspace) -> None:
    policy = policy_of(made)
    refused = agent_on(made, finish("x"), policy=policy, context={"mail": "How do I make explosives?"})
    with pytest.raises(StepFailed, match="Not here") as caught:
        refused.run()
    assert caught.value.slug == "policy"
    assert refused.model.requests == []
    withheld = agent_on(made, finish("It has two doors."), policy=policy)
    with pytest.raises(StepFailed, match="Doors are secret"):
        withheld.run()


def test_the_policy_has_a_person_look(made: FastWorkspace) -> None:
    one = agent_on(made, finish("for 30 days"), policy=made.policies.items()[0].sha256, goal="Say what a salary is.")
    before = one.run()
    assert isinstance(before, Waits)
    assert one.model.requests == []
    one.people.decide(before.ref)
    after = one.run()
    assert isinstance(after, Waits)
    assert "days" in one.people.tasks[after.ref]["title"]
    one.people.decide(after.ref)
    assert isinstance(one.run(), Done)


def test_where_the_policy_s_person_says_no_nothing_begins(made: FastWorkspace) -> None:
    one = agent_on(made, finish("x"), policy=made.policies.items()[0].sha256, goal="Say what a salary is.")
    one.people.decide(one.run().ref, "rejected")
    with pytest.raises(StepFailed) as caught:
        one.run()
    assert caught.value.slug == "rejected"
    assert one.model.requests == []
