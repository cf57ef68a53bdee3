"""The workflows that come with the program: each on its example, and on inputs that each of its checks bites on."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prompt_parts import saying, with_model
from workflow_site import SHIPPED, Site, shipped

from api.assembly import Workspace
from kernel.records import LOCAL_OWNER
from kernel.settings import Settings
from kernel.storage.runs import Run
from pipeline.workflows.chooser import recommend
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.reading import read_workflow

NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
EXAMPLES = SHIPPED / "examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All examples in one workspace with the real model, as who tries all of them has it."""
    with Workspace(Settings.load(home=tmp_path_factory.mktemp("home"))) as made:
        found = Site(made)
        for folder in sorted(EXAMPLES.iterdir()):
            place = tmp_path_factory.mktemp(folder.name)
            shutil.copytree(folder, place, dirs_exist_ok=True)
            found.ingest(place, f"example-{folder.name.replace('_', '-')}")
        yield found


def add(site: Site, name: str, path: str, text: str) -> None:
    """Put a document into the source of an example."""
    source = f"example-{name}"
    (site.folders[source] / path).write_text(text)
    site.ingest(site.folders[source], source)


def given(name: str, **changes: Any) -> dict[str, Any]:
    """The example of a workflow with other members."""
    return copy.deepcopy(shipped(name).example or {}) | changes


def documents_of(site: Site, answers: list[str]) -> set[str]:
    """The titles of what recorded answers cite."""
    bodies = [site.workspace.answers.get(one, LOCAL_OWNER).body for one in answers]
    return {cited["title"] for body in bodies for cited in body["citations"]}


def decided(site: Site, run: Run, step: str) -> Mapping[str, Any]:
    """The task of a step that waits for a person because a check did not hold."""
    assert run.status == "waiting"
    assert site.state(run).of(step).status == "waiting" or any(
        one.status == "waiting" for one in site.state(run).items.get(step, {}).values()
    )
    return site.task(run)


def test_there_are_ten_and_each_is_whole(site: Site) -> None:
    assert len(NAMES) == 10
    for name in NAMES:
        spec = shipped(name)
        assert check_workflow(spec, site.kinds) == ()
        assert spec.name == name
        assert spec.version == 1
        assert all((spec.owner, spec.example, spec.form, spec.risks, spec.title, spec.deadline))
        effects = [one for one in spec.steps if one.kind == "deliver"]
        reviews = [one for one in spec.steps if one.kind == "review"]
        assert bool(reviews) == (spec.stakes != "low")
        assert spec.form is not None
        pattern = recommend(spec.form).pattern
        assert (pattern == "workflow") == all(one.kind != "agent" for one in spec.steps), name
        assert effects or name == "reindex-and-evaluate"


def test_the_weekly_job_of_the_how_to_runs_as_it_says(site: Site, tmp_path: Path) -> None:
    guide = (SHIPPED.parents[2] / "docs" / "how-to" / "automate-a-weekly-job.md").read_text(encoding="utf-8")
    spec = read_workflow(guide.split("```yaml\n")[1].split("```")[0])
    assert check_workflow(spec, site.kinds) == ()
    (tmp_path / "backups.md").write_text("# Backups\n\nBackups of customer data are kept for 35 days.\n")
    (tmp_path / "leave.md").write_text("# Parental leave\n\nAn employee may take 16 weeks of parental leave.\n")
    site.ingest(tmp_path, "handbook")
    run = site.go(site.start(spec, spec.example).id)
    assert len(site.task(run)["evidence"]) == 2
    text = site.outputs(site.approve(run))[""]["text"]
    for line in ("kept? Backups of customer data are kept for 35 days. (Backups)", "- Parental leave (added)"):
        assert line in text
        assert line in guide or line.startswith("- Parental")
    assert text in site.delivered().values()


# --- With a model -------------------------------------------------------------------------------------------------


@contextmanager
def with_replies(folder: Path, example: str, *replies: str) -> Iterator[Site]:
    """A workspace whose model replies these texts in turn, with the documents of an example."""
    with (
        closing(saying(*replies)) as server,
        Workspace(Settings.load(home=folder / "home", **with_model(server))) as made,
    ):
        found = Site(made)
        documents = EXAMPLES / example.replace("-", "_")
        if documents.is_dir():
            found.ingest(documents, f"example-{example}")
        yield found


def test_a_model_sorts_and_words_a_reply_that_stands_on_the_same_documents(tmp_path: Path) -> None:
    triage = '{"reason": "cannot sign in", "queue": "access", "urgency": "normal", "usual": true}'
    answer = 'A customer who cannot sign in resets the password with the link "Forgotten password". [c1]'
    reply = (
        "Dear customer, please use the link Forgotten password on the sign-in page; the mail comes within ten minutes."
    )
    with with_replies(tmp_path, "support-triage", triage, answer, reply) as site:
        run = site.example("support-triage")
        state = site.state(run)
        assert state.of("sort").output["by"] == "prompt"
        assert state.of("sort").output["json"]["urgency"] == "normal"
        assert site.task(run)["values"]["reply"] == reply
        assert state.of("reply").output["sources"] == ["Sign-in and passwords"]
        assert state.of("answer").data["used"]["model"] == "openai/toy-1"


def test_a_brief_by_a_model_that_passes_over_a_drop_is_put_to_a_person(tmp_path: Path) -> None:
    brief = "## Attention\nOrders fell to 832.\n## As usual\nVisits, refunds.\n## Questions\nWhy did orders fall?"
    with with_replies(tmp_path, "weekly-performance-review", brief) as site:
        run = site.example("weekly-performance-review")
        assert site.state(run).of("brief").output["text"] == brief
        assert decided(site, run, "complete")["shown"]["output"]["value"] == "Conversion in percent; "
        assert site.reject(run).status == "failed"


def test_a_model_that_fails_costs_the_wording_and_not_the_run(tmp_path: Path) -> None:
    with with_replies(tmp_path, "weekly-performance-review", "no sections at all") as site:
        run = site.example("weekly-performance-review")
        assert site.state(run).of("brief_by_model").status == "failed"
        assert "Orders: 832, -17.2 %" in site.task(run)["values"]["brief"]


# --- Support triage -----------------------------------------------------------------------------------------------


def test_a_usual_request_gets_the_reply_that_the_knowledge_base_gives(site: Site) -> None:
    run = site.example("support-triage")
    task = site.task(run)
    assert task["effects"][0]["with"]["path"] == "support/T-1041.md"
    assert "Forgotten password" in task["values"]["reply"]
    assert [one["question"] for one in task["evidence"]] == [(shipped("support-triage").example or {})["subject"]]
    out = site.outputs(site.approve(run))
    assert out["sort"]["label"] == "access"
    assert out["reply"]["sources"] == ["Sign-in and passwords"]
    assert all(one["citations"] for one in out["answer"]["sentences"])
    assert out[""]["unusual"] is False
    assert site.delivered()["support/T-1041.md"].startswith("Dear customer,\n\nthank you")


@pytest.mark.parametrize(
    ("subject", "body", "label"),
    [
        ("Please send me a copy of my invoice", "I need last month's invoice for the books.", "billing"),
        ("My parcel has not arrived", "I ordered two weeks ago and nothing came.", "order"),
        ("The pump does not start", "The red lamp is on and no water comes.", "fault"),
        ("Which personal data do you hold about me?", "Send me a copy please.", "privacy"),
        ("Lost phone with my second factor", "I cannot sign in without the codes.", "access"),
        ("Partnership for a film about lighthouses", "We want to shoot on your roof in May.", "other"),
    ],
)
def test_requests_are_sorted_right(site: Site, subject: str, body: str, label: str) -> None:
    run = site.example("support-triage", given("support-triage", id="T-1", subject=subject, body=body))
    assert site.state(run).of("sort").output["label"] == label
    site.reject(run)
    assert "support/T-1.md" not in site.delivered()


def test_an_unusual_request_and_one_that_no_document_answers_go_to_a_person(site: Site) -> None:
    unknown = "How do I pay my invoice with bitcoins from Zanzibar?"
    for number, subject in enumerate(("Partnership for a film about lighthouses", unknown), start=2):
        ticket = given("support-triage", id=f"T-{number}", subject=subject, body="Please tell me.")
        run = site.example("support-triage", ticket)
        state = site.state(run)
        assert state.of("unusual").status == "done"
        assert state.of("reply").status == "skipped"
        assert site.task(run)["shown"]["unusual"] is True
        out = site.outputs(site.approve(run, {"reply": "Dear customer, we do not offer that. Brightwater"}))
        assert site.delivered()[f"support/T-{number}.md"] == out[""]["reply"]
    assert state.of("answer").status == "failed"  # of the last: the check of its evidence led away
    assert state.of("answer").data["to"] == "unusual"


# --- Weekly performance review ------------------------------------------------------------------------------------


def test_drops_over_fifteen_percent_are_flagged_exactly(site: Site) -> None:
    run = site.example("weekly-performance-review")
    assert [one["measure"] for one in site.state(run).of("sides").output["fell"]] == ["Orders", "Conversion in percent"]
    out = site.outputs(site.approve(run))
    brief = site.delivered()["reports/week-2026-11-09.md"]
    assert brief == out[""]["brief"]
    attention, usual = brief.split("## As usual")
    assert "Orders: 832, -17.2 %" in attention
    assert "New customers: 171 (-14.5 %)" in usual
    edge = given("weekly-performance-review")
    edge["rows"] = [one | {"value": 850 if one["date"] == "2026-11-09" else 1000} for one in edge["rows"]]
    run = site.example("weekly-performance-review", edge)
    assert site.state(run).of("sides").output["fell"] == []  # exactly 15 % is not over 15 %
    assert "nothing fell by more than 15 %" in site.task(run)["values"]["brief"]
    site.reject(run)


def test_figures_that_are_gone_or_fewer_than_in_former_runs_are_put_to_a_person(site: Site) -> None:
    few = given("weekly-performance-review")
    few["rows"] = [one for one in few["rows"] if one["measure"] in ("Orders", "Visits")]
    run = site.example("weekly-performance-review", few)
    assert "as many measures as usual" in decided(site, run, "compare")["shown"]["what"]
    gone = given("weekly-performance-review")
    gone["rows"] = [one for one in gone["rows"] if (one["measure"], one["date"]) != ("Orders", "2026-11-09")]
    run = site.example("weekly-performance-review", gone)
    assert "nothing is gone" in decided(site, run, "compare")["shown"]["what"]
    assert site.reject(run).status == "failed"


# --- Competitive brief --------------------------------------------------------------------------------------------


def test_every_claim_has_its_source_and_what_nobody_says_is_not_known(site: Site) -> None:
    out = site.outputs(site.example("competitive-brief"))
    assert [one["rival"] for one in out[""]["claims"]] == ["Northpeak", "Northpeak", "Veltor", "Veltor"]
    assert all(one["source"] and one["supported"] for one in out[""]["claims"])
    assert len({one["source"] for one in out[""]["claims"]}) == 3
    assert [one["question"] for one in out[""]["open"]] == ["How many people work for Veltor?"]
    for one in out[""]["claims"]:
        assert f"{one['text']} ({one['source']})" in site.delivered()["competition/brief.md"]


def test_a_rival_of_whom_nothing_is_known_and_a_single_source_are_noticed(site: Site) -> None:
    run = site.example("competitive-brief", given("competitive-brief", rivals=["Northpeak", "Veltor", "Zyxwater"]))
    assert decided(site, run, "coverage")["shown"]["output"]["value"] == ["Zyxwater"]
    assert "Zyxwater" not in site.outputs(site.approve(run))[""]["brief"]
    one = [{"rival": "Northpeak", "question": "How long is the warranty of Northpeak?"}]
    run = site.example("competitive-brief", given("competitive-brief", rivals=["Northpeak"], questions=one))
    assert "more than one source" in site.error(run)["message"]


# --- Risk digest --------------------------------------------------------------------------------------------------


def test_findings_are_ranked_by_the_stated_rules(site: Site) -> None:
    out = site.outputs(site.example("risk-digest"))
    found = [(one["id"][8:13], one["severity"], one["area"], one["due"]) for one in out[""]["findings"]]
    assert found == [
        ("R-201", 5, "privacy", "2026-11-30"),
        ("R-202", 4, "safety", "2026-11-25"),
        ("R-203", 3, "suppliers", "2027-03-31"),
        ("R-204", 2, "records", "2027-06-30"),
    ]
    assert out[""]["without_owner"] == ["Finding R-203: supplier audit"]
    for document, fields in zip(out["found"]["documents"], out["read"], strict=True):
        answers = [one["answer"] for one in fields["fields"].values() if one["found"]]
        assert documents_of(site, answers) == {document["title"]}
    assert "NO OWNER" in site.delivered()["risk/digest-2026-11-20.md"]


def test_an_empty_folder_is_no_good_news(site: Site) -> None:
    run = site.example("risk-digest", given("risk-digest", source="example-nothing"))
    assert "there is something to read" in site.error(run)["message"]


# --- Document review ----------------------------------------------------------------------------------------------


def test_each_point_is_met_by_words_or_is_a_gap(site: Site) -> None:
    run = site.example("document-review")
    assert site.task(run)["values"]["decision"] == "returned"
    out = site.outputs(site.approve(run, {"decision": "returned", "remarks": "Shorten the storage."}))
    verdicts = [one["verdict"] for one in out[""]["points"]]
    assert verdicts == ["met", "met", "met", "met", "not met", "not met"]
    assert out[""]["points"][4]["words"] == "Personal data of travellers is deleted after 24 months."
    assert out[""]["points"][5]["words"] is None
    assert "Decision: returned. Shorten the storage." in site.delivered()["reviews/report.md"]


def test_a_document_without_gaps_is_proposed_to_be_accepted(site: Site) -> None:
    points = (shipped("document-review").example or {})["checklist"][:4]
    run = site.example("document-review", given("document-review", checklist=points))
    assert site.task(run)["values"]["decision"] == "accepted"
    assert site.reject(run).status == "failed"
    missing = site.example("document-review", given("document-review", document="no-such-policy.md"))
    assert site.error(missing)["slug"] == "not-found"


# --- Lead enrichment ----------------------------------------------------------------------------------------------


def test_a_lead_gets_what_it_says_and_what_we_know(site: Site) -> None:
    record = site.outputs(site.example("lead-enrichment"))[""]["record"]
    assert record["budget"] == {"amount": 18500, "currency": "EUR"}
    assert (record["quantity"], record["date"], record["rating"]) == (24, "2027-03-15", "hot")
    assert record["segment"] == "trade"
    assert record["documents"] == ["Account note: Marsh Nurseries"]
    assert "Ines Falk" in record["contact"]
    message = (shipped("lead-enrichment").example or {})["message"]
    assert all(one in message for one in record["words"])
    assert '"rating": "hot"' in site.delivered()["leads/L-208.json"]


def test_a_slip_of_the_pen_is_put_to_a_person_and_what_is_not_said_stays_empty(site: Site) -> None:
    message = (shipped("lead-enrichment").example or {})["message"]
    slip = message.replace("EUR 18,500", "EUR 18,500,000")
    run = site.example("lead-enrichment", given("lead-enrichment", id="L-9", message=slip))
    assert "the budget is plausible" in decided(site, run, "read")["shown"]["what"]
    assert site.reject(run).status == "failed"
    assert "leads/L-9.json" not in site.delivered()
    bare = given(
        "lead-enrichment", id="L-10", company="Zyx Gardens", message="I need one quiet pump for my pond at home."
    )
    record = site.outputs(site.example("lead-enrichment", bare))[""]["record"]
    assert (record["budget"], record["customer"], record["contact"]) == (None, False, None)
    assert (record["rating"], record["segment"]) == ("cold", "private")


# --- Content pipeline ---------------------------------------------------------------------------------------------


def test_a_text_says_only_what_documents_state_and_waits_for_its_editor(site: Site) -> None:
    run = site.example("content-pipeline")
    draft = site.task(run)["values"]["text"]
    out = site.outputs(site.approve(run, {"text": draft + " It stands in any corner."}))
    assert all(fact in draft for fact in out[""]["facts"])
    assert len(out[""]["facts"]) == 3
    assert all(one["status"] == "answered" for one in out["facts"])
    assert site.delivered()["content/rain-tank.md"] == draft + " It stands in any corner."


def test_hype_is_found_and_facts_that_nobody_states_stop_the_draft(site: Site) -> None:
    hype = "The best ever tank, guaranteed!"
    run = site.example("content-pipeline", given("content-pipeline", slug="hype", call=hype))
    assert site.task(run)["about"].endswith("the checklist found no hype, no promise of prices")
    site.reject(run)
    assert "content/hype.md" not in site.delivered()
    unknown = given("content-pipeline", slug="none", questions=["Who won the chess cup of Zanzibar in 1987?"])
    run = site.example("content-pipeline", unknown)
    assert "facts stand on documents" in decided(site, run, "facts")["shown"]["what"]
    assert site.error(site.approve(run))["step"] == "points"  # even where a person lets it pass: there are no facts


# --- Contract fields ----------------------------------------------------------------------------------------------


def test_fields_of_a_contract_are_typed_and_each_is_cited(site: Site) -> None:
    run = site.example("contract-fields")
    assert site.state(run).of("fields").output["missing"] == []
    out = site.outputs(site.approve(run))
    record = out[""]["record"]
    assert (record["begins"], record["ends"], record["notice_days"]) == ("2026-03-01", "2028-02-28", 90)
    assert record["fee"] == {"amount": 4800, "currency": "EUR"}
    assert record["liability"] == {"amount": 250000, "currency": "EUR"}
    assert record["renews"] is False
    text = site.workspace.catalog.text(record["document"], record["revision"])
    for one in out["fields"]["fields"].values():
        cited = one["citation"]
        assert text[cited["start"] : cited["end"]] == cited["quote"]
    assert f"contracts/{record['document']}.json" in site.delivered()


def test_a_contract_that_cannot_be_right_or_is_not_accepted_does_not_pass(site: Site) -> None:
    text = (EXAMPLES / "contract_fields" / "halden-storage-agreement.md").read_text()
    title = "# Storage agreement between Halden Freight and Brightwater Tools"

    def contract(path: str, *changes: tuple[str, str]) -> Run:
        changed = text.replace(title, f"# Storage agreement of {path[0]}")
        for before, after in changes:
            assert before in changed
            changed = changed.replace(before, after)
        add(site, "contract-fields", path, changed)
        return site.example("contract-fields", {"contract": path})

    ends = contract("x-ends.md", ("ends on 28 February 2028", "ends on 28 February 2025"))
    assert "the end is after the beginning" in site.error(ends)["message"]
    notice = contract("y-notice.md", ("agreement is 90 days", "agreement is 400 days"))
    assert "the notice period is one that we accept" in decided(site, notice, "fields")["shown"]["what"]
    assert site.approve(notice).status == "waiting"  # for the lawyer
    begins = contract("z-begins.md", ("The agreement begins on 1 March 2026. ", ""))
    assert site.error(begins)["slug"] == "missing"


# --- Re-index and evaluate ----------------------------------------------------------------------------------------


def test_sources_are_read_again_and_what_got_worse_is_put_to_a_person(site: Site) -> None:
    report = site.outputs(site.example("reindex-and-evaluate"))[""]["report"]
    assert (report["hit"], report["decided"], report["misses"], report["wrong"]) == (1.0, 1.0, [], [])
    (site.folders["example-reindex-and-evaluate"] / "spare-parts.md").unlink()
    run = site.example("reindex-and-evaluate")
    shown = decided(site, run, "after")["shown"]
    assert "as good as before" in shown["what"]
    assert [one["question"] for one in shown["output"]["misses"]] == ["How long are spare parts of a pump kept?"]
    report = site.outputs(site.approve(run))[""]["report"]
    assert (report["differences"], report["hit"]) == (1, 0.5)


def test_the_nightly_run_reads_all_sources_and_names_those_that_are_gone(site: Site, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (gone / "note.md").write_text("# note\n\nA note.\n")
    site.ingest(gone, "gone")
    shutil.rmtree(gone)
    (trigger,) = shipped("reindex-and-evaluate").triggers
    report = site.outputs(site.example("reindex-and-evaluate", trigger.input or {}))[""]["report"]
    assert "gone" in [one["source"] for one in report["missing"]]
    assert report["hit"] is None


# --- Incident summary ---------------------------------------------------------------------------------------------


def test_an_incident_is_told_in_the_words_of_its_log(site: Site) -> None:
    run = site.example("incident-summary")
    out = site.outputs(site.approve(run))
    text = site.delivered()["incidents/INC-77.md"]
    for one in out["read"]["fields"].values():
        assert one["found"]
        assert one["value"] in text
    assert "Report of incident INC-41" in out[""]["earlier"]
    assert "340 orders" in text


def test_blame_and_a_log_without_a_cause_are_noticed(site: Site) -> None:
    text = (EXAMPLES / "incident_summary" / "inc-77-log.md").read_text()
    cause = "The cause of the incident was an expired certificate of the\npayment service."
    assert cause in text
    blames = text.replace(cause, "The cause of the incident was a careless\ncolleague who forgot the certificate.")
    add(site, "incident-summary", "inc-78-log.md", blames.replace("INC-77", "INC-78"))
    example = given("incident-summary", incident="INC-78", log="inc-78-log.md")
    run = site.example("incident-summary", example)
    assert "nobody is blamed" in decided(site, run, "tone")["shown"]["what"]
    assert site.reject(run).status == "failed"
    add(site, "incident-summary", "inc-79-log.md", text.replace(cause, "").replace("INC-77", "INC-79"))
    run = site.example("incident-summary", given("incident-summary", incident="INC-79", log="inc-79-log.md"))
    assert site.error(run)["slug"] == "missing"
