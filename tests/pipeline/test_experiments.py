"""Experiments and canaries on real workspaces: drawn once and for all, watched, ended, promoted, and replayed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from experiment_site import ASKER, CHECKER, QUESTION, WRITER, ExperimentWorkspace, ask, opened, released, version_of

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.erasure import ErasureRequest
from pipeline.prompts.declaration import read_declaration
from pipeline.prompts.runs import RunRequest
from pipeline.prompts.shares import arm_of
from pipeline.prompts.state import ExperimentState

NAME = "grounded-answer"
DRAW = """
import json, sys
from pipeline.prompts.shares import arm_of
from pipeline.prompts.state import ExperimentState
spec = json.loads(sys.argv[1])
one = ExperimentState("exp_1", "p", "running", spec, 0, "")
print(json.dumps([arm_of(one, f"s{n}", "key")[0] for n in range(50)]))
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[ExperimentWorkspace]:
    with opened(tmp_path) as workspace:
        yield workspace
        assert [f"{fault.where}: {fault.what}" for fault in workspace.verifier.faults()] == []


def start(made: ExperimentWorkspace, **declared: object) -> str:
    return str(made.experiments.start(NAME, read_declaration({"unit": "session"} | declared), LOCAL_OWNER)["id"])


def sessions(made: ExperimentWorkspace, trial: str, pattern: str, count: int) -> list[str]:
    """Sessions of an experiment that are drawn to its first ("a") and second arm ("b") in turn, as the pattern says."""
    one = made.prompts.state().of(NAME).experiments[trial]
    names = [arm["name"] for arm in one.spec["arms"]]
    found: dict[str, list[str]] = {"a": [], "b": []}
    for n in range(count * 40):
        found["ab"[names.index(arm_of(one, f"s{n}", ASKER.id)[0])]].append(f"s{n}")
    return [found[pattern[n % len(pattern)]].pop() for n in range(count)]


def drawn(shares: list[float], names: list[str], unit: str = "session") -> ExperimentState:
    arms = [{"name": n, "version": v, "share": s} for v, (n, s) in enumerate(zip(names, shares, strict=True), 1)]
    return ExperimentState("exp_1", "p", "running", {"unit": unit, "arms": arms}, 0, "")


def test_shares_are_kept_and_arms_stick() -> None:
    """Chi-square over 20,000 sessions: below the value that chance exceeds once in a thousand."""
    one = drawn([0.05, 0.25, 0.7], ["a", "b", "c"])
    found = Counter(arm_of(one, f"session {n}", "key")[0] for n in range(20_000))
    chi = sum((found[arm["name"]] - 20_000 * arm["share"]) ** 2 / (20_000 * arm["share"]) for arm in one.spec["arms"])
    assert chi < 13.816
    assert [arm_of(one, f"s{n}", f"key {n % 3}") for n in range(99)] == [arm_of(one, f"s{n}", "key") for n in range(99)]
    by_user = drawn([0.5, 0.5], ["a", "b"], "user")
    assert len({arm_of(by_user, f"s{n}", "key") for n in range(99)}) == 1
    assert arm_of(one, None, "key") == arm_of(one, None, "key")


def test_another_process_draws_the_same() -> None:
    import json

    one = drawn([0.3, 0.7], ["a", "b"])
    said = subprocess.run(
        [sys.executable, "-c", DRAW, json.dumps(dict(one.spec))], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(said.stdout) == [arm_of(one, f"s{n}", "key")[0] for n in range(50)]


def test_a_bad_version_is_taken_back_within_fifty_requests(made: ExperimentWorkspace) -> None:
    """Requests go on all the while, and none fails; who was in the canary gets production again at once."""
    bad = version_of(made, "BREAK")
    canary = start(made, kind="canary", arms=[{"version": bad, "share": 0.2}])
    ended = None
    for n, session in enumerate(sessions(made, canary, "aaaab", 60)):
        answer = ask(made, session)
        if made.prompts.state().of(NAME).running is None:
            ended = n + 1
            break
        assert answer["prompt"].get("experiment") == canary
    assert ended is not None
    assert ended <= 50
    status = made.experiments.status(canary)
    assert (status["state"], status["outcome"]["result"]) == ("ended", "breach")
    assert "failed is 1 after 3 values" in status["reason"]
    assert [event["by"] for event in status["events"]] == ["local", "vouch"]
    after = [ask(made, f"s{n}") for n in range(10)]
    assert {(one["status"], one["prompt"]["version"], one["prompt"].get("experiment")) for one in after} == {
        ("answered", 1, None)
    }
    with pytest.raises(Conflict, match="ended by a guard"):
        made.experiments.promote(canary, LOCAL_OWNER)


def test_a_worse_version_is_found_by_comparison_alone(made: ExperimentWorkspace) -> None:
    bad = version_of(made, "SILENT")
    canary = start(
        made,
        kind="canary",
        arms=[{"version": bad, "share": 0.2}],
        guards=[{"metric": "answered", "worse_by": 0.1}],
    )
    for session in sessions(made, canary, "aaaab", 50):
        ask(made, session)
    status = made.experiments.status(canary)
    assert status["state"] == "ended"
    assert "answered is worse than production's by more than 0.1" in status["reason"]


def test_a_version_as_good_stays(made: ExperimentWorkspace) -> None:
    good = version_of(made, "Be kind.")
    canary = start(made, kind="canary", arms=[{"version": good, "share": 0.5}], max_samples=40)
    for n in range(39):
        ask(made, f"s{n}")
    assert made.experiments.status(canary)["state"] == "running"
    ask(made, "s39")
    status = made.experiments.status(canary)
    assert (status["state"], status["outcome"]["result"]) == ("ended", "passed")
    assert {one["state"] for one in status["guards"]} == {"holds"}


def test_an_experiment_finds_the_better_version_and_promotes_it(made: ExperimentWorkspace) -> None:
    worse, better = version_of(made, "SILENT"), version_of(made, "Be brief.")
    arms = [{"version": worse, "name": "old"}, {"version": better, "name": "new"}]
    trial = start(made, arms=arms, min_samples=5)
    with pytest.raises(Conflict, match="runs on this prompt"):
        made.prompts.label(NAME, better, "production", LOCAL_OWNER)
    with pytest.raises(Conflict, match="runs on this prompt"):
        start(made, arms=arms)
    for session in sessions(made, trial, "ab", 30):
        ask(made, session)
    status = made.experiments.status(trial)
    assert (status["state"], status["winner"]) == ("ended", "new")
    assert status["figures"]["new"]["answered"] == 1.0
    assert status["figures"]["new"]["tokens"] == 120.0
    assert status["figures"]["old"]["answered"] == 0.0
    (comparison,) = status["comparisons"]
    assert comparison["low"] > 0
    assert comparison["difference"] == 1.0
    assert {one["metric"] for one in status["other_metrics"]} > {"abstained", "confidence"}
    made.experiments.promote(trial, LOCAL_OWNER)
    assert made.prompts.labels(NAME)["production"] == better
    kinds = [(one.kind, one.data.get("state"), one.data.get("experiment")) for one in made.prompts.events(NAME)[-2:]]
    assert kinds == [("experiment", "promoted", None), ("labelled", None, trial)]
    with pytest.raises(Conflict, match="promoted already"):
        made.experiments.promote(trial, LOCAL_OWNER)
    assert ask(made, "s1")["prompt"]["version"] == better


def test_what_may_not_go_live_is_in_no_arm(made: ExperimentWorkspace) -> None:
    draft = version_of(made, "Be bold.", approved=False)
    with pytest.raises(Conflict, match="cannot go live"):
        start(made, arms=[{"version": draft}])
    with pytest.raises(NotFound, match="no version 99"):
        start(made, arms=[{"version": 99}])
    for wrong, words in (
        ({"arms": [{"version": 1, "share": 0.5}, {"version": draft, "share": 0.6}]}, "come to 1"),
        ({"arms": [{"version": 1}], "metric": {"name": "latency_ms"}}, "cap"),
        ({"arms": [{"version": 1}], "guards": [{"metric": "failed"}]}, "one of at_most"),
        ({"arms": [{"version": 1}], "nonsense": 1}, "nonsense"),
        ({"kind": "canary", "arms": [{"version": 1}, {"version": 2}]}, "one arm"),
    ):
        with pytest.raises(InvalidInput, match=words):
            start(made, **wrong)  # type: ignore[arg-type]
    assert made.experiments.items() == []


def test_production_rolled_back_ends_what_runs(made: ExperimentWorkspace) -> None:
    first, second = version_of(made, "Be brief."), version_of(made, "Be kind.")
    made.prompts.label(NAME, first, "production", LOCAL_OWNER)
    trial = start(made, arms=[{"version": second, "share": 0.5}])
    made.prompts.rollback(NAME, LOCAL_OWNER)
    status = made.experiments.status(trial)
    assert (status["state"], status["reason"]) == ("stopped", "production was rolled back")
    assert {ask(made, f"s{n}")["prompt"]["version"] for n in range(5)} == {1}
    with pytest.raises(Conflict, match="production was moved"):
        made.experiments.promote(trial, LOCAL_OWNER, "v3" if second == 3 else "v2")


def test_each_session_counts_once_and_figures_survive_a_restart(made: ExperimentWorkspace) -> None:
    other = version_of(made, "Be brief.")
    trial = start(made, arms=[{"version": 1}, {"version": other}], stop="manual")
    for n in range(8):
        for _ in range(3):
            ask(made, f"s{n}")
    for n in range(4):
        made.answering.ask(Question(QUESTION, Principal(f"key_{n}", Role.APP)))
    status = made.experiments.status(trial)
    assert sum(arm["answers"] for arm in status["figures"].values()) == 28
    assert sum(arm["units"] for arm in status["figures"].values()) == 12
    (comparison,) = status["comparisons"]
    assert sum(comparison["counted"].values()) == 12
    with opened(made.settings.home.parent) as again:
        told = again.experiments.status(trial)
    assert told == status
    stopped = made.experiments.stop(trial, LOCAL_OWNER, "enough for Robin")
    assert stopped["events"][-1]["comment"] == "enough for Robin"
    assert "Robin" not in str(made.prompts.events(NAME))
    assert {"production" in str(ask(made, "s1")["prompt"].get("arm")) for _ in range(2)} == {False}


def test_an_answer_made_in_an_arm_is_replayed_as_it_was(made: ExperimentWorkspace) -> None:
    other = version_of(made, "Be brief.")
    start(made, arms=[{"version": 1}, {"version": other}])
    trial = next(iter(made.prompts.state().of(NAME).experiments))
    answers = [ask(made, session) for session in sessions(made, trial, "ab", 4)]
    assert len({one["prompt"]["arm"] for one in answers}) == 2
    version_of(made, "Be kind.")
    made.experiments.stop(answers[0]["prompt"]["experiment"], LOCAL_OWNER)
    for one in answers:
        report = made.replayer.replay(one["id"], LOCAL_OWNER)
        assert report["identical"], report["stages"]
        assert report["pinned"]["prompt"] == one["prompt"]


def test_feedback_counts_the_last_word_of_each(made: ExperimentWorkspace) -> None:
    other = version_of(made, "Be brief.")
    trial = start(made, arms=[{"version": 1}, {"version": other}], metric={"name": "feedback"}, min_samples=2)
    for session in sessions(made, trial, "ab", 16):
        answer = ask(made, session)
        liked = answer["prompt"]["version"] == other
        made.feedback.give(answer["id"], ASKER.id, 0.0)
        made.feedback.give(answer["id"], ASKER.id, 1.0 if liked else 0.5)
        made.feedback.give(answer["id"], CHECKER.id, 1.0 if liked else 0.0, "said so", ["tone"])
    figures = made.experiments.status(trial)["figures"]
    assert (figures["control"]["feedback"], figures["v2"]["feedback"]) == (0.25, 1.0)
    assert figures["control"]["opinions"] + figures["v2"]["opinions"] == 32


def test_an_erased_person_leaves_scores_that_name_nobody(made: ExperimentWorkspace) -> None:
    key, _ = made.keys.create(Role.APP, (), "Robin")
    person = Principal(key.id, Role.APP)
    mine = made.answering.ask(Question(QUESTION, person))
    others = made.answering.ask(Question(QUESTION, ASKER))
    made.feedback.give(mine["id"], CHECKER.id, 0.3, "of Robin's answer")
    made.feedback.give(others["id"], key.id, 0.7, "Robin was here")
    made.eraser.erase(ErasureRequest(principals=(key.id,)), "asked", "local")
    numbers = [made.answers.get(one["id"], LOCAL_OWNER).number for one in (mine, others)]
    left = [(one.actor, one.score, one.comment) for found in made.feedback.of(numbers).values() for one in found]
    assert left == [("", 0.3, ""), ("", 0.7, "")]
    assert made.occurrences.find("Robin was here") == []
    with pytest.raises(NotFound):
        made.feedback.give(mine["id"], WRITER.id, 1.0)


def test_an_observer_that_fails_takes_no_answer_away(
    made: ExperimentWorkspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(made, kind="canary", arms=[{"version": version_of(made, "Be brief.")}])

    def broken(*_: object) -> bool:
        raise RuntimeError("a fault")

    monkeypatch.setattr(made.experiments, "check", broken)
    assert ask(made, "s1")["status"] == "answered"
    assert "could not be looked at" in caplog.text


def test_figures_are_numbers(made: ExperimentWorkspace) -> None:
    """An experiment without an answer has no figures, and says so in JSON that is JSON."""
    trial = start(made, arms=[{"version": version_of(made, "Be brief.")}])
    status = made.experiments.status(trial)
    assert status["figures"]["production"]["answered"] is None
    (comparison,) = status["comparisons"]
    assert (comparison["low"], comparison["high"], comparison["evidence"]) == (-1, 1, 0)
    assert not math.isnan(comparison["p_value"])


def test_runs_of_a_prompt_without_documents_are_watched_too(made: ExperimentWorkspace) -> None:
    text = (
        "---\nname: greeting\ninputs:\n  name: {schema: {type: string}}\n---\n# role\nRULES\n# context\n\n"
        "# constraints\n\n# process\n\n# output format\n\n# quality criteria\n\n# edge cases\n\n"
        "# task\nGreet {{name}}.\n\n# tests\n```yaml\n- name: plain\n  inputs: {name: Ann}\n"
        "  expect: [{contains: Hi}]\n```\n"
    )
    for rules in ("Be kind.", "BREAK"):
        released(made, text.replace("RULES", rules))
    made.prompts.label("greeting", 1, "production", LOCAL_OWNER)
    declared = read_declaration({"kind": "canary", "arms": [{"version": 2, "share": 0.5}], "unit": "session"})
    canary = made.experiments.start("greeting", declared, LOCAL_OWNER)["id"]
    for n in range(40):
        made.prompt_runner.run(RunRequest("greeting", {"name": "Ann"}, ASKER, session=f"s{n}"))
    status = made.experiments.status(canary)
    assert (status["state"], status["outcome"]["result"]) == ("ended", "breach")
    assert status["figures"]["canary"]["answers"] == status["figures"]["canary"]["units"] == 3
    assert status["figures"]["production"]["answered"] in (None, 1.0)  # by chance the first three may be the canary's
