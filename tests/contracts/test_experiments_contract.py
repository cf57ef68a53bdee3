"""Feedback and the reading of experiments, on both databases."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from experiment_site import ASKER, CHECKER, ExperimentWorkspace, ask, opened, version_of
from sqlalchemy import select

from kernel.errors import InvalidInput, NotFound
from kernel.records import LOCAL_OWNER
from kernel.storage.erasure import ErasureRequest
from kernel.storage.retention import RetentionRules
from kernel.storage.schema import feedback
from kernel.storage.trials import Trials
from pipeline.prompts.declaration import read_declaration

NAME = "grounded-answer"


@pytest.fixture
def made(database_url: str, tmp_path: Path) -> Iterator[ExperimentWorkspace]:
    url = None if database_url.startswith("sqlite") else database_url
    with opened(tmp_path, workspace=f"t{secrets.token_hex(8)}", database_url=url) as workspace:
        yield workspace
        assert [f"{fault.where}: {fault.what}" for fault in workspace.verifier.faults()] == []


def test_feedback_is_an_entry_of_its_own(made: ExperimentWorkspace) -> None:
    first, second = ask(made, "s1"), ask(made, "s2")
    for actor, score in ((ASKER.id, 0.0), (CHECKER.id, 1.0), (ASKER.id, 0.5)):
        made.feedback.give(first["id"], actor, score, "said", ["a", "b"])
    found = made.feedback.of([first["ledger"]["index"], second["ledger"]["index"]])
    assert list(found) == [first["ledger"]["index"]]
    assert [(one.actor, one.score, one.comment, one.labels) for one in found[first["ledger"]["index"]]] == [
        (CHECKER.id, 1.0, "said", ("a", "b")),
        (ASKER.id, 0.5, "said", ("a", "b")),
    ]
    leaves = made.ledger.leaves(0, 99, kind="answer.feedback")
    assert [leaf.facts["score"] for leaf in leaves] == [0, 1, 0.5]
    assert all(ASKER.id not in leaf.text and "said" not in leaf.text for leaf in leaves)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInput):
            made.feedback.give(first["id"], ASKER.id, wrong)
    with pytest.raises(NotFound):
        made.feedback.give("ans_none", ASKER.id, 1)


@pytest.mark.parametrize("how", ["erased", "expired"])
def test_feedback_on_an_answer_that_is_gone_says_no_more(made: ExperimentWorkspace, how: str) -> None:
    answer = ask(made, "s1")
    made.feedback.give(answer["id"], CHECKER.id, 1.0, "Robin wrote this")
    if how == "erased":
        made.eraser.erase(ErasureRequest(answers=(answer["id"],)), "asked", "local")
    else:
        made.retention.expire(RetentionRules(1), "local", datetime.now(UTC) + timedelta(days=2))
    with made.database.read() as connection:
        assert [row.actor for row in connection.execute(select(feedback))] == [""]
    assert made.occurrences.find("Robin wrote") == []


def test_a_reader_gets_only_what_is_new(made: ExperimentWorkspace) -> None:
    other = version_of(made, "Be brief.")
    declared = read_declaration({"arms": [{"version": 1}, {"version": other}], "unit": "session", "stop": "manual"})
    trial = made.experiments.start(NAME, declared, LOCAL_OWNER)["id"]
    trials = Trials(made.database)
    assert list(trials.after(trial)) == []
    answers = [ask(made, f"s{n}") for n in range(5)]
    indexes = [one["ledger"]["index"] for one in answers]
    seen = list(trials.after(trial))
    assert [one.number for one in seen] == indexes
    assert [one.arm for one in seen] == [one["prompt"]["arm"] for one in answers]
    assert [one.number for one in trials.after(trial, indexes[2])] == indexes[3:]
    said = made.feedback.give(answers[1]["id"], ASKER.id, 0.25)
    assert [(one.answer, one.score) for one in trials.scores(trial)] == [(indexes[1], 0.25)]
    assert list(trials.scores(trial, said.leaf)) == []
    assert list(trials.after("exp_other")) == []
    made.experiments.stop(trial, LOCAL_OWNER)


def test_two_processes_end_an_experiment_once(made: ExperimentWorkspace) -> None:
    """Each looks by itself; the second finds that it has ended."""
    bad = version_of(made, "BREAK")
    declared = read_declaration({"kind": "canary", "arms": [{"version": bad, "share": 0.9}], "unit": "session"})
    trial = made.experiments.start(NAME, declared, LOCAL_OWNER)["id"]
    object.__setattr__(made.answering._oversight, "watch", None)
    for n in range(12):
        ask(made, f"s{n}")
    with ExperimentWorkspace(made.settings) as other:
        assert other.experiments.status(trial)["state"] == "running"
        assert [made.experiments.check(trial), other.experiments.check(trial)] == [True, False]
        assert other.experiments.status(trial)["state"] == "ended"
        assert ask(other, "s1")["prompt"]["version"] == 1
