"""The adapters and a real small model: SmolLM2-135M from a package, served by a child process."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from small_model import SERVE, serving

from kernel.errors import GenerationFailed
from kernel.ports import GenerationRequest
from kernel.providers.openai import OpenAIGenerator
from kernel.providers.reranker import HttpReranker
from kernel.records import Evidence, Message

RANKS = """params.embedding = True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
server = """


@pytest.fixture(scope="module")
def small_model() -> Iterator[str]:
    """Base URL of the small model."""
    with serving(SERVE) as address:
        yield f"{address}/v1"


def asking(text: str) -> GenerationRequest:
    return GenerationRequest(text, (Message("user", text),), Evidence(1, ()), ())


CAPITAL = asking("Name the capital of France in one short sentence.")


def test_a_real_model_gives_the_same_whole_answer_twice(small_model: str) -> None:
    generator = OpenAIGenerator(small_model, "smollm2", max_tokens=64, deadline_seconds=20.0)
    first, second = generator.generate(CAPITAL), generator.generate(CAPITAL)
    generator.close()
    assert "Paris" in first.text
    assert first.text.endswith(".")
    assert first.prompt_tokens > 20
    assert 5 <= first.completion_tokens < 64
    assert second == first


def test_an_answer_that_a_real_model_cannot_end_is_none(small_model: str) -> None:
    generator = OpenAIGenerator(small_model, "smollm2", max_tokens=4, deadline_seconds=20.0)
    with pytest.raises(GenerationFailed, match=r"limit of tokens .* \(1 try\)"):
        generator.generate(CAPITAL)
    generator.close()


def test_a_prompt_past_the_context_is_named(small_model: str) -> None:
    generator = OpenAIGenerator(small_model, "smollm2", deadline_seconds=20.0)
    with pytest.raises(GenerationFailed, match=r"answered 400: .*context.* \(1 try\)"):
        generator.generate(asking("many words " * 2000))
    generator.close()


def test_the_deadline_holds_against_a_real_model(small_model: str) -> None:
    generator = OpenAIGenerator(small_model, "smollm2", max_tokens=900, deadline_seconds=0.3)
    start = time.monotonic()
    with pytest.raises(GenerationFailed, match=r"within 0\.3 s \(1 try\)"):
        generator.generate(asking("Count from one to five hundred, in words, one number a line."))
    assert 0.25 <= time.monotonic() - start <= 1.0
    generator.close()


@pytest.mark.slow
def test_a_real_server_takes_both_dialects_of_reranking() -> None:
    """The model was not made for this, so its scores say nothing; that they come does."""
    texts = ["Paris is the capital of France.", "Bananas are yellow.", "London."]
    with serving(SERVE.replace("server = ", RANKS)) as address:
        plain = HttpReranker(f"{address}/v1", "small", deadline_seconds=20.0)
        bare = HttpReranker(address, "small", dialect="texts", deadline_seconds=20.0)
        scores = plain.score("capital of France", texts)
        assert len(set(scores.tolist())) == 3
        assert plain.score("capital of France", texts[::-1]).tolist() == scores[::-1].tolist()
        assert bare.score("capital of France", texts).tolist() == scores.tolist()
        plain.close()
        bare.close()
