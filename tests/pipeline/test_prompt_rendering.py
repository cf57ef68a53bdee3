"""Prompts: every section in its place, one pass over variables, and data that stays data."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import Evidence, GraphFact, Message, Notice, Passage, PromptVersion
from pipeline.prompts.anatomy import ASK, RULES, read_prompt
from pipeline.prompts.anatomy import SECTIONS as BEFORE
from pipeline.prompts.library import shipped_prompt
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.rendering import render as render_compiled

SECTIONS = (*BEFORE, ASK[0])
HEADER = "---\nname: toy\n---\n"
TEMPLATE = HEADER + "\n".join(f"# {name}\nAbout {name}." for name in SECTIONS)


def toy(template: str) -> PromptVersion:
    return PromptVersion("toy", 2, sha256(template), "", template)


def render(prompt: PromptVersion, question: str, evidence: Evidence) -> tuple[Message, ...]:
    return render_compiled(compile_prompt(prompt), question, evidence)


def passage(text: str, number: int = 1, **changes: object) -> Passage:
    values: dict[str, object] = {
        "chunk_id": f"chk_{number}",
        "document_id": f"doc_{number}",
        "external_id": None,
        "revision": 1,
        "source": "s",
        "title": f"Title {number}",
        "uri": "",
        "heading": (),
        "text": text,
        "start": 0,
        "end": len(text),
        "page": None,
        "score": 1.0,
    }
    return Passage(**(values | changes))  # type: ignore[arg-type]


def test_the_shipped_prompt() -> None:
    prompt = shipped_prompt()
    assert prompt.sha256 == sha256(prompt.template)
    system, user = render(prompt, "Who?", Evidence(1, (passage("One."),)))
    assert (system.role, user.role) == ("system", "user")
    places = [system.content.index(f"# {name}") for name in SECTIONS if name not in ("context", "question")]
    assert places == sorted(places)
    assert "NOT FOUND" in system.content
    assert '[c1] Title 1\n<passage id="c1">\nOne.\n</passage>' in user.content
    assert user.content.endswith("# question\nWho?")
    assert "{{" not in system.content + user.content


@pytest.mark.parametrize("name", ["nosuch", "../grounded-answer", "Grounded", "grounded-answer@draft", ""])
def test_a_prompt_that_there_is_not(name: str) -> None:
    with pytest.raises(NotFound):
        shipped_prompt(name)


def test_a_template_without_a_section() -> None:
    with pytest.raises(InvalidInput, match="edge cases"):
        read_prompt(TEMPLATE.replace("# edge cases\n", ""))


@pytest.mark.parametrize("text", ["", "no front matter", "---\n- a\n---\nbody", TEMPLATE.replace("name: toy\n", "")])
def test_front_matter_is_needed(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_prompt(text)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_variable_is_refused(section: str) -> None:
    with pytest.raises(InvalidInput, match="secrets"):
        compile_prompt(toy(TEMPLATE.replace(f"About {section}.", "{{secrets}}")))


@pytest.mark.parametrize("section", RULES)
def test_variables_belong_to_the_user_message(section: str) -> None:
    """The question cannot be put among the rules."""
    with pytest.raises(InvalidInput, match="question"):
        compile_prompt(toy(TEMPLATE.replace(f"About {section}.", "{{question}}")))


def test_nothing_inside_data_is_a_template() -> None:
    prompt = shipped_prompt()
    evidence = Evidence(1, (passage("say {{question}} and {{facts}}", title="{{passages}}"),))
    user = render(prompt, "{{passages}} {{nosuch}}", evidence)[1].content
    assert "say {{question}} and {{facts}}" in user
    assert "[c1] {{passages}}\n" in user
    assert user.endswith("# question\n{{passages}} {{nosuch}}")


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["</passage>", "</PASSAGE >", "< / passage", "<passage id='c9'>", "\n", "a", "<\\/passage", "</"]
            )
        ).map("".join),
        max_size=4,
    )
)
def test_a_passage_cannot_close_its_tag(texts: list[str]) -> None:
    """Nor open another one, from its text or its title; else a reader could not tell whose words follow."""
    evidence = Evidence(1, tuple(passage(text, number, title=f"T{text}") for number, text in enumerate(texts, 1)))
    user = render(shipped_prompt(), "Who?", evidence)[1].content
    assert len(re.findall(r"<\s*/\s*passage", user, re.IGNORECASE)) == len(texts)
    assert re.findall(r"<\s*passage[^>]*>", user, re.IGNORECASE) == [
        f'<passage id="c{number}">' for number in range(1, len(texts) + 1)
    ]


def test_headings_standing_and_facts() -> None:
    notice = Notice("doc_1", "revoked", "bod 22 01", "chk_2", "revokes")
    evidence = Evidence(
        1,
        (passage("Old.", heading=("Title 1", "Scope"), notices=(notice,)), passage("New.", 2)),
        (GraphFact("bod 22 01", "revokes", "bod 19 02", "chk_2"),),
    )
    user = render(shipped_prompt(), "Who?", evidence)[1].content
    assert "[c1] Title 1 > Scope (revoked by bod 22 01)\n" in user
    assert "- bod 22 01 revokes bod 19 02 [c2]" in user
