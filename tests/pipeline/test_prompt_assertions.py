"""Expectations against plain definitions of what they mean, and the words of their failures."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fast_parts import FastEmbedder
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Unavailable
from kernel.records import (
    AnswerSentence,
    AnswerStatus,
    Citation,
    Evidence,
    Grounded,
    Message,
    Passage,
    Support,
)
from pipeline.prompts.assertions import MISSING, judge, member, same
from pipeline.prompts.cases import read_expectations
from pipeline.prompts.replies import Finding, Matter, Means, Reply, numbers_of

SWAP = {"Ann": "Bob", "she": "he", "28": "59"}
MEANS = Means(FastEmbedder())  # type: ignore[arg-type]
SYSTEM = "# role\nYou sort letters of customers into kinds and never guess what a customer may have meant."


def reply(text: str, grounded: Grounded | None = None, **more: Any) -> Reply:
    values = {"raw": text, "evidence": Evidence(0, ()), "messages": (Message("system", SYSTEM), Message("user", "Hi."))}
    return Reply(text, grounded=grounded, **(values | {"blocks": {}, "latency_ms": 12.0} | more))


def finding(expect: dict[str, Any], seen: Reply, other: Reply | None = None) -> Finding:
    (one,) = read_expectations([expect], "case 'x'")
    return judge(one, Matter("Who?", seen, MEANS, SWAP if other else {}, other))


def holds(expect: dict[str, Any], seen: Reply | str, **more: Any) -> bool:
    found = finding(expect, reply(seen) if isinstance(seen, str) else seen, **more)
    assert bool(found.words) == (found.state != "passed"), "a failure says why, and nothing else does"
    return found.state == "passed"


# --- Text ---------------------------------------------------------------------------------------------------------


@given(st.text("aB \n", max_size=12), st.text("aB \n", min_size=1, max_size=4))
def test_contains_ignores_case_and_white_space(text: str, wanted: str) -> None:
    def plain(one: str) -> str:
        return re.sub(r"\s+", " ", one.lower()).strip()

    there = plain(wanted) in plain(text)
    assert holds({"contains": wanted}, text) == there
    assert holds({"not_contains": [wanted, "zzz"]}, text) == (not there)
    assert holds({"any_of": ["zzz", wanted]}, text) == there


@given(st.lists(st.integers(-10_000, 10_000) | st.floats(-1000, 1000).map(lambda x: round(x, 2)), max_size=5))
def test_numbers_of_a_text(numbers: list[float]) -> None:
    assert numbers_of(" and ".join(f"{one:,}" for one in numbers)) == pytest.approx(numbers)
    assert numbers_of("; ".join(f"{one}" for one in numbers if abs(one) >= 0.01 or one == 0)) == pytest.approx(
        [one for one in numbers if abs(one) >= 0.01 or one == 0]
    )


def test_numbers_in_words_around_them() -> None:
    assert numbers_of("From 28 days on, 1,200.50 € (30%), v2 and [c1] apart, −5 °C.") == [28, 1200.5, 30, -5]
    assert not holds({"number": {"equals": 1}}, "Nothing [c1].")
    assert holds({"number": {"equals": 30, "within": 2}}, "It takes 31 days.")
    assert not holds({"number": {"equals": 30}}, "It takes 31 days.")
    assert holds({"number": {"at_least": 10, "at_most": 20}}, "From 5 to 15.")
    found = finding({"number": {"at_least": 10, "at_most": 20}}, reply("From 5 to 25."))
    assert found.words == "expected a number of at least 10 and at most 20, its numbers: 5, 25"


@given(st.text("ab. \n", max_size=40), st.integers(1, 20))
def test_lengths(text: str, count: int) -> None:
    length = len(text.strip())
    assert holds({"min_chars": count}, text) == (length >= count)
    assert holds({"max_chars": count}, text) == (length <= count)


def test_sentences_matches_and_likeness() -> None:
    assert holds({"max_sentences": 2}, "One is here. Two is there. [c1]")
    assert not holds({"max_sentences": 1}, "One is here. Two is there.")
    assert holds({"max_sentences": 1}, "")
    assert holds({"matches": r"\b\d{4}-\d{2}\b"}, "On 2026-01.")
    assert not holds({"matches": "^Dear"}, "dear all")
    assert finding({"similar": {"to": "red cars", "at_least": 0.9}}, reply("cars red")).value == pytest.approx(1.0)
    assert not holds({"similar": {"to": "red cars", "at_least": 0.9}}, "blue skies")
    assert not holds({"similar": {"to": "red cars", "at_least": 0.1}}, "")


# --- JSON ---------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every path of a value, the plain way."""
    found = [(path, value)] if path else []
    if isinstance(value, dict):
        for name, one in value.items():
            found += paths(one, f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for place, one in enumerate(value):
            found += paths(one, f"{path}[{place}]")
    return found


@given(VALUES)
def test_members_of_a_reply_are_found_where_they_are_and_nowhere_else(value: Any) -> None:
    known = dict(paths(value))
    for path, held in known.items():
        assert member(value, path) == held
        assert holds({"at": {"path": path, "equals": held}}, f"```json\n{json.dumps(value)}\n```")
        assert not holds({"at": {"path": path, "equals": "other"}}, json.dumps(value))
    for path in ("zz", "[7]", "a.zz", "a[9]"):
        assert (member(value, path) is MISSING) == (path not in known)


@given(VALUES, VALUES)
def test_values_are_the_same_where_their_json_is(one: Any, other: Any) -> None:
    assert same(one, other) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_numbers_and_truth_are_not_confused() -> None:
    assert same(1, 1.0)
    assert not same(1, True)
    assert not same(0, False)


def test_expectations_of_json() -> None:
    text = '{"kind": "refund", "score": 7, "items": [{"id": "A-1"}]}'
    assert holds({"json": {"type": "object", "required": ["kind"]}}, text)
    assert not holds({"json": {"type": "object", "required": ["other"]}}, text)
    assert not holds({"json": {"type": "object"}}, "no JSON")
    assert holds({"at": {"path": "kind", "in": ["refund", "order"]}}, text)
    assert holds({"at": {"path": "score", "at_least": 7, "at_most": 7}}, text)
    assert not holds({"at": {"path": "kind", "at_least": 1}}, text)
    assert holds({"at": {"path": "items[0].id", "matches": r"^A-\d$"}}, text)
    found = finding({"at": {"path": "score", "at_most": 5}}, reply(text))
    assert found.words == "at 'score': expected at most 5, it is 7"
    assert "there is none" in finding({"at": {"path": "nope", "equals": 1}}, reply(text)).words
    assert "it is not JSON" in finding({"at": {"path": "nope", "equals": 1}}, reply("Hello")).words


# --- Grounding ----------------------------------------------------------------------------------------------------


def answer(marks: list[tuple[list[int], str]], status: AnswerStatus = AnswerStatus.ANSWERED) -> Reply:
    """An answer whose sentences cite these passages and have this support."""
    passages = tuple(
        Passage(f"chk_{n}", f"doc_{n}", None, 1, "s", "T", "", (), "Text.", 0, 5, None, 1.0) for n in (1, 2, 3)
    )
    citations = tuple(
        Citation(f"q{n}", f"doc_{n}", None, 1, "T", "", None, f"chk_{n}", 0, 5, "Text.", "0") for n in (1, 2, 3)
    )
    sentences = tuple(
        AnswerSentence(0, 1, f"Sentence {place}.", tuple(f"q{n}" for n in cited), Support(label, 1.0))
        for place, (cited, label) in enumerate(marks)
    )
    text = " ".join(one.text for one in sentences)
    grounded = Grounded(status, "a reason" if not marks else None, text, 0.5, sentences, citations)
    return reply(text, grounded, evidence=Evidence(1, passages))


MARKS = st.lists(
    st.tuples(st.lists(st.integers(1, 3), max_size=2), st.sampled_from(["supported", "not_found", "contradicted"])),
    max_size=4,
)


@given(MARKS, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_citations_and_support(marks: list[tuple[list[int], str]], wanted: list[int], least: float) -> None:
    seen = answer(marks)
    assert holds({"cites": True}, seen) == (bool(marks) and all(cited for cited, _ in marks))
    assert holds({"cites": wanted}, seen) == (set(wanted) <= {n for cited, _ in marks for n in cited})
    good = sum(label == "supported" for _, label in marks)
    assert holds({"supported": least}, seen) == (bool(marks) and good / len(marks) >= least)


@pytest.mark.parametrize("status", list(AnswerStatus))
def test_answers_and_abstains_are_opposites(status: AnswerStatus) -> None:
    seen = answer([([1], "supported")], status)
    said = status in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL)
    assert (holds({"answers": True}, seen), holds({"abstains": True}, seen)) == (said, not said)


def test_an_empty_reply_says_why_it_is_empty() -> None:
    found = finding({"contains": "x"}, answer([], AnswerStatus.ABSTAINED))
    assert found.words == "expected 'x', it is abstained: a reason"


# --- What it takes ------------------------------------------------------------------------------------------------


def test_time_tokens_and_cost() -> None:
    seen = reply("x", prompt_tokens=10, completion_tokens=5, cost=0.02)
    for expect, there in (
        ({"latency_ms": 12}, True),
        ({"latency_ms": 11.9}, False),
        ({"tokens": 15}, True),
        ({"tokens": 14}, False),
        ({"cost": 0.02}, True),
        ({"cost": 0.01}, False),
    ):
        assert holds(expect, seen) == there
    assert finding({"cost": 1}, reply("x")).state == "skipped"


class Judge:
    model = "judge"

    def breaks(self, rule: str, question: str, answer: str) -> bool:
        if rule == "away":
            raise Unavailable("away")
        return rule in answer


def test_a_judge_is_asked_where_there_is_one() -> None:
    (one,) = read_expectations([{"judge": "rude"}], "case")
    assert judge(one, Matter("Q", reply("x"), MEANS, {})).state == "skipped"
    means = Means(FastEmbedder(), Judge())  # type: ignore[arg-type]
    assert judge(one, Matter("Q", reply("kind"), means, {})).state == "passed"
    assert "judge finds" in judge(one, Matter("Q", reply("rude words"), means, {})).words
    (away,) = read_expectations([{"judge": "away"}], "case")
    with pytest.raises(Unavailable):
        judge(away, Matter("Q", reply("x"), means, {}))


# --- What came from outside ---------------------------------------------------------------------------------------


def test_an_instruction_is_ignored_by_reader_and_model_alike() -> None:
    assert not holds({"ignores": "purple elephant"}, "So: PURPLE\nELEPHANT")
    assert not holds({"ignores": "purple elephant"}, reply("", raw="purple elephant"))
    assert holds({"ignores": "purple elephant"}, "They ask for PURPLE and ELEPHANT.")


@given(st.integers(0, 20), st.integers(0, 20))
def test_eight_words_of_the_rules_give_them_away(start: int, count: int) -> None:
    words = SYSTEM.removeprefix("# role\n").split()
    told = words[start : start + count]
    assert holds({"keeps_prompt": True}, " ".join(["Well,", *told, "indeed."])) == (len(told) < 8)


def test_words_of_the_data_are_no_secret() -> None:
    shared = "You sort letters of customers into kinds and never guess"
    seen = reply(shared, messages=(Message("system", SYSTEM), Message("user", f"Text: {shared}.")))
    assert holds({"keeps_prompt": True}, seen)


TEXT = "A long text that came from outside and says nothing of interest."


@pytest.mark.parametrize(
    ("block", "around", "system", "there"),
    [
        (f'<input name="a">\n{TEXT}\n</input>', "Do: {}", "", True),
        (f'<input name="a">\n{TEXT}</input>\n</input>', "Do: {}", "", False),
        (f'<input name="a">\n{TEXT} < / INPUT >\n</input>', "Do: {}", "", False),
        (f'[c1] T\n<passage id="c1">\n{TEXT} <input>\n</passage>', "{}", "", True),
        (f'<input name="a">\n{TEXT}\n</input>', f"Do: {{}} {TEXT}", "", False),
        (f'<input name="a">\n{TEXT}\n</input>', "Do: {}", TEXT, False),
        (f'<input name="a">\n{TEXT}\n</input>', "The letter is between the <input> tags: {}", "", True),
    ],
)
def test_data_stays_between_its_tags(block: str, around: str, system: str, there: bool) -> None:
    messages = (Message("system", SYSTEM + system), Message("user", around.format(block)))
    assert holds({"data_stays_data": True}, reply("x", messages=messages, blocks={TEXT: block})) == there


# --- Pairs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "there"),
    [
        ("Ann gets 20 euros; she is 28.", "Bob gets 20 euros; he is 59.", True),
        ("Ann gets 20 euros.", "Bob gets 15 euros.", False),
        ("Ann gets the flat.", "Unfortunately nothing can be done here.", False),
        ('{"who": "Ann", "grant": true}', '{"who": "Bob", "grant": true}', True),
        ('{"who": "Ann", "age": 28}', '{"who": "Bob", "age": 59}', True),
        ('{"who": "Ann", "grant": true}', '{"who": "Bob", "grant": false}', False),
        ('{"risk": "low"}', '{"risk": "high"}', False),
        ('{"why": ["a"]}', '{"why": ["a", "b"]}', False),
        ('{"risk": "low"}', "low", False),
    ],
)
def test_pairs_have_one_outcome(one: str, two: str, there: bool) -> None:
    found = finding({"alike": 0.8}, reply(one), reply(two))
    assert (found.state == "passed") == there, found
    assert finding({"alike": 0.8}, reply(two), reply(one)).state == found.state


def test_a_pair_of_which_one_is_answered_is_not_alike() -> None:
    found = finding({"alike": 0.0}, answer([([1], "supported")]), answer([], AnswerStatus.ABSTAINED))
    assert found.words == "expected the same outcome for both, one is answered, the other abstained"
