"""Ledger, bundles, packs and reports at both doors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fast_parts import FastWorkspace, InlineParser, scratch
from http_site import served
from typer.testing import CliRunner, Result

from api.app import create_app
from api.cli import app
from api.cli import call as cli_call
from api.heads import HeadKeeper
from api.schemas import AnswerProof, AuditReport, Consistency, LedgerEntry, LedgerKey, Page
from kernel import merkle
from kernel.notes import Verifier
from kernel.records import Question, Role
from kernel.settings import Settings


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[FastWorkspace, str, dict[str, str]]]:
    """A served workspace with answers of two askers, and the secrets of its keys."""
    with scratch() as folder:
        (folder / "pages").mkdir()
        (folder / "pages" / "a.md").write_text("# Register\n\nAlpha Team keeps the register in Lisbon.\n")
        with FastWorkspace(Settings.load(home=folder / "home", checkpoint_file=folder / "heads")) as made:
            made.indexer.ingest(InlineParser(), [folder / "pages"], "pages")
            secrets = {}
            for name, role in (("asker", Role.APP), ("other", Role.APP), ("reviewer", Role.REVIEWER)):
                secrets[name] = made.keys.create(role, (), name)[1]
            principal = made.keys.authenticate(secrets["asker"])
            for question in ("Where is the register?", "Who keeps the register?"):
                made.answering.ask(Question(question, principal))
            with served(create_app(made)) as url:
                yield made, url, secrets


def get(site: Any, who: str, path: str, **query: Any) -> httpx.Response:
    _, url, secrets = site
    return httpx.get(f"{url}{path}", params=query, headers={"Authorization": f"Bearer {secrets[who]}"})


def first_answer(site: Any) -> str:
    return next(record.id for record in site[0].answers.records())


def test_a_proof_over_http_leads_to_the_checkpoint(site: Any) -> None:
    note = get(site, "asker", "/v1/ledger/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    key = Verifier.parse(LedgerKey.model_validate(get(site, "asker", "/v1/ledger/key").json()).key)
    head = key.open(note.text)
    proof = AnswerProof.model_validate(get(site, "asker", f"/v1/answers/{first_answer(site)}/proof").json())
    assert proof.payload is not None
    steps = [bytes.fromhex(step) for step in proof.inclusion]
    leaf = merkle.leaf_hash(proof.leaf.encode())
    assert merkle.included(leaf, proof.index, proof.size, steps, key.open(proof.checkpoint).root)
    assert proof.size <= head.size


def test_consistency_over_http_holds(site: Any) -> None:
    key = site[0].ledger.key
    old = key.open(get(site, "asker", "/v1/ledger/checkpoint", size=3).text)
    new = key.open(get(site, "asker", "/v1/ledger/checkpoint").text)
    shown = get(site, "asker", "/v1/ledger/consistency", **{"from": 3}).json()
    Consistency.model_validate(shown)
    steps = [bytes.fromhex(step) for step in shown["consistency"]]
    assert shown["to"] == new.size
    assert merkle.consistent(3, new.size, old.root, new.root, steps)
    assert get(site, "asker", "/v1/ledger/consistency", **{"from": 5, "to": 4}).status_code == 422
    assert get(site, "asker", "/v1/ledger/checkpoint", size=10_000).status_code == 404


def test_entries_and_the_report_are_for_reviewers(site: Any) -> None:
    assert get(site, "asker", "/v1/ledger/entries").status_code == 403
    assert get(site, "asker", "/v1/audit/report").status_code == 403
    seen, cursor = [], None
    while True:
        page = get(site, "reviewer", "/v1/ledger/entries", limit=3, **({"cursor": cursor} if cursor else {})).json()
        Page[LedgerEntry].model_validate(page)
        seen += [item["number"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(site[0].ledger.size()))
    only = get(site, "reviewer", "/v1/ledger/entries", kind="answer").json()["items"]
    assert {item["kind"] for item in only} == {"answer"}
    report = get(site, "reviewer", "/v1/audit/report", since="2020-01-01").json()
    AuditReport.model_validate(report)
    assert report["completeness"]["answers"] == 2
    assert get(site, "reviewer", "/v1/audit/report", since="yesterday").status_code == 422
    assert get(site, "reviewer", "/v1/audit/report", source="nowhere").status_code == 404


def test_another_asker_learns_nothing_of_an_answers_proof(site: Any) -> None:
    answer_id = first_answer(site)
    hidden = get(site, "other", f"/v1/answers/{answer_id}/proof")
    nothing = get(site, "other", "/v1/answers/ans_none/proof")
    assert hidden.status_code == nothing.status_code == 404
    assert get(site, "reviewer", f"/v1/answers/{answer_id}/proof").status_code == 200


def test_the_server_writes_heads_outside(site: Any) -> None:
    made = site[0]
    path = made.settings.checkpoint_file
    keeper = HeadKeeper(path, lambda: made.ledger)
    keeper.start()
    keeper.stop()
    assert made.ledger.checkpoint() in path.read_text()
    assert list(made.verifier.faults((made.ledger.checkpoint(),))) == []


@pytest.fixture
def vouch(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the program on the same home, with the fast model."""
    monkeypatch.setattr(cli_call, "Workspace", FastWorkspace)
    home = site[0].settings.home

    def call(*words: object) -> Result:
        return CliRunner().invoke(app, ["--home", str(home), *(str(word) for word in words)])

    return call


def test_the_command_line_proves_an_answer_offline(site: Any, vouch: Any, tmp_path: Path) -> None:
    answer_id, bundle, key = first_answer(site), tmp_path / "answer.json", tmp_path / "key"
    key.write_text(vouch("ledger", "key").stdout)
    assert vouch("ledger", "bundle", answer_id, bundle).exit_code == 0
    offline = CliRunner().invoke(
        app, ["--home", str(tmp_path / "none"), "verify", "--bundle", str(bundle), "--ledger-key", str(key)]
    )
    assert offline.exit_code == 0, offline.output
    assert not (tmp_path / "none").exists()
    assert offline.stdout.splitlines()[-1] == "verified"
    bundle.write_text(bundle.read_text().replace("Lisbon", "London"))
    wrong = vouch("verify", "--bundle", bundle, "--ledger-key", key, "--json")
    assert (wrong.exit_code, json.loads(wrong.stdout)["ok"]) == (1, False)
    assert vouch("verify", "--bundle", bundle).exit_code == 2
    assert vouch("verify", "--bundle", tmp_path / "no", "--ledger-key", key).exit_code == 2


def test_the_command_line_packs_and_checks(site: Any, vouch: Any, tmp_path: Path) -> None:
    pack = tmp_path / "pack.zip"
    made = vouch("audit", "pack", pack, "--since", "2020-01-01", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["answers"] == 2
    key = site[0].ledger.key
    shown = vouch("verify", "--bundle", pack, "--ledger-key", key)
    assert shown.exit_code == 0, shown.output
    assert "these are all 2 answers that the ledger has for the period" in shown.stdout
    lines = vouch("audit", "openlineage", "-").stdout.splitlines()
    assert len(lines) == 3
    assert "with valid entry" in vouch("audit").stdout


def test_the_command_line_shows_the_ledger(site: Any, vouch: Any, tmp_path: Path) -> None:
    size = site[0].ledger.size()
    head = vouch("ledger", "head", "--json")
    assert json.loads(head.stdout)["size"] == size
    assert vouch("ledger").stdout == site[0].ledger.checkpoint()
    proof = json.loads(vouch("ledger", "proof", 2, "--size", 4, "--json").stdout)
    assert (proof["size"], len(proof["inclusion"])) == (4, 2)
    assert json.loads(vouch("ledger", "consistency", 2, 5, "--json").stdout)["to"] == 5
    assert json.loads(vouch("ledger", "show", 0, "--json").stdout)["kind"] == "ledger.opened"
    entries = json.loads(vouch("ledger", "entries", "--limit", 2, "--json").stdout)
    assert [item["number"] for item in entries["items"]] == [0, 1]
    more = json.loads(vouch("ledger", "entries", "--limit", 2, "--cursor", entries["next_cursor"], "--json").stdout)
    assert [item["number"] for item in more["items"]] == [2, 3]
    assert vouch("ledger", "show", 999).exit_code == 1
    nonsense = vouch("ledger", "entries", "--kind", "nonsense")
    assert nonsense.exit_code == 1
    assert "it has: answer" in nonsense.stderr
    number = next(
        one["number"] for one in json.loads(vouch("ledger", "entries", "--kind", "answer", "--json").stdout)["items"]
    )
    assert len(vouch("ledger", "show", number).stdout) < 4_000 < len(vouch("ledger", "show", number, "--json").stdout)


def test_heads_outside_catch_a_rewritten_ledger(site: Any, vouch: Any, tmp_path: Path) -> None:
    outside = tmp_path / "heads"
    assert json.loads(vouch("ledger", "export", outside, "--json").stdout)["written"] is True
    assert json.loads(vouch("ledger", "export", outside, "--json").stdout)["written"] is False
    assert vouch("ledger", "export", "-").stdout == outside.read_text()
    checked = vouch("verify", "--checkpoints", outside, "--ledger-key", site[0].ledger.key)
    assert checked.exit_code == 0, checked.output
    other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert vouch("verify", "--ledger-key", other).exit_code == 1
    outside.write_text(outside.read_text().replace(str(site[0].ledger.size()), "3", 1))
    assert vouch("ledger", "export", outside).exit_code == 1
    assert vouch("verify", "--checkpoints", outside).exit_code == 1
