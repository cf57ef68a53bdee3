"""ModelDecomposer: sub-questions from a model's JSON, and nothing from anything else."""

from __future__ import annotations

import json

import pytest

from kernel.errors import GenerationFailed, Unavailable
from kernel.ports import Decomposer, GenerationRequest
from kernel.providers.decomposer import LONGEST_PART, ModelDecomposer
from kernel.records import Generation, ModelInfo

QUESTION = "Who leads the office that approves parental leave? {{question}}"


class Model:
    info = ModelInfo("toy", "echo", {})

    def __init__(self, reply: str | None) -> None:
        self.reply = reply
        self.asked: list[GenerationRequest] = []

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        if self.reply is None:
            raise GenerationFailed("the model server is away")
        return Generation(self.reply)


def parts(reply: str | None) -> tuple[str, ...]:
    port: Decomposer = ModelDecomposer(Model(reply))
    return port.parts(QUESTION)


def test_the_question_is_asked_as_it_stands() -> None:
    model = Model('{"questions": []}')
    port = ModelDecomposer(model)
    assert port.parts(QUESTION) == ()
    system, user = model.asked[0].messages
    assert (system.role, user.role, user.content) == ("system", "user", QUESTION)
    assert '{"questions": []}' in system.content
    assert port.model == "echo"
    assert port.prompt.startswith("sub-questions@1 ")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            '{"questions": ["Who approves?", "Who leads the\\nOffice  then?"]}',
            ("Who approves?", "Who leads the Office then?"),
        ),
        ('```json\n{"questions": ["One?"]}\n```\n', ("One?",)),
        (json.dumps({"questions": [" One?", "One?", QUESTION]}), ("One?",)),
        ('{"questions": ["nul \\u0000 inside"]}', ("nul inside",)),
    ],
)
def test_what_is_taken(reply: str, expected: tuple[str, ...]) -> None:
    assert parts(reply) == expected


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Who approves leave?",
        '["Who approves leave?"]',
        'Here you are: {"questions": ["One?"]}',
        '{"questions": ["One?"], "answer": "Marta"}',
        '{"questions": ["One?", 2]}',
        '{"questions": ["1?", "2?", "3?", "4?"]}',
        '{"questions": null}',
        '{"questions": ["half a \\ud800 pair"]}',
        json.dumps({"questions": ["x" * (LONGEST_PART + 1)]}),
    ],
)
def test_what_is_not(reply: str) -> None:
    with pytest.raises(Unavailable, match="something else than the JSON"):
        parts(reply)


def test_a_model_that_is_away() -> None:
    with pytest.raises(Unavailable, match="is away"):
        parts(None)
