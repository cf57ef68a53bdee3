"""Expressions of workflows: what they come to, what they refuse, and that nothing but values is within their reach."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from kernel.errors import InvalidInput
from pipeline.language import gathered
from pipeline.workflows.expression_filters import FILTERS
from pipeline.workflows.expressions import evaluate, fill, holds_template, names_in, names_of

VISIBLE: Mapping[str, Any] = {
    "input": {"n": 3, "word": "tea", "none": None, "sales": [{"who": "a", "sum": 5}, {"who": "b", "sum": 1.5}]},
    "steps": {"find": {"output": {"results": [1, 2], "of": {"title": "T"}}}},
    "result": {"x": 1},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("input.n + 1", 4),
        ("(input.n - 1) * 2 / 4 % 3", 1.0),
        ("-input.n", -3),
        ('"a" + input.word', "atea"),
        ("steps.find.output.results + [input.n]", [1, 2, 3]),
        ('input["n"] >= 3 and not (input.word == "coffee")', True),
        ("'a' in (input.sales | map(attribute='who'))", True),
        ("input.sales | map(attribute='sum') | sum", 6.5),
        ("input.sales | sum(attribute='sum') | round", 6),
        ("input.sales | selectattr('sum', 'greaterthan', 3) | map(attribute='who')", ["a"]),
        ("input.sales | rejectattr('sum', '>', 3) | length", 1),
        ("(input.sales | min(attribute='sum')).who", "b"),
        ("input.sales | sort(attribute='sum') | first", {"who": "b", "sum": 1.5}),
        ("[3, 1, 3] | unique | sort(reverse=true)", [3, 1]),
        ("[] | max | default(0)", 0),
        ("steps.find.output.absent | default('none')", "none"),
        ("input.sales | map(attribute='seen', default=0)", [0, 0]),
        ("input.sales[0].who", "a"),
        ("input.sales[1:]", [{"who": "b", "sum": 1.5}]),
        ("{'total': input.n, 'who': [input.word]}", {"total": 3, "who": ["tea"]}),
        ("'few' if input.n < 5 else 'many'", "few"),
        ("(1 - 0.8) | abs | round(2)", 0.2),
        ("input.sales | map(attribute='who') | join(', ')", "a, b"),
        ("'2026-02-27' | plus_days(2)", "2026-03-01"),
        ("'2026-03-01T08:00:00Z' | days_since('2026-02-27')", 2),
        ("'2026-03-01T08:00:00Z' | date", "2026-03-01"),
        ("{'a': 1} | items", [{"key": "a", "value": 1}]),
        ("input.none is none and input.absent is not defined", True),
        ("result.x", 1),
        ("input.sales | tojson | length", 50),
    ],
)
def test_what_an_expression_comes_to(expression: str, value: Any) -> None:
    found = evaluate(expression, VISIBLE)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("steps.find.output.result", "there is no steps.find.output.result; steps.find.output has: of, results"),
        ("steps.fund.output", "there is no steps.fund; steps has: find"),
        ("nosuch + 1", "there is no nosuch; it has: input, result, steps"),
        ("steps.find.output.results.first", "no object"),
        ("input.sales | map(attribute='nosuch')", "an item has no 'nosuch'"),
        ("[] | min", "no least item"),
        ("input.n / 0", "divides by zero"),
        ("input.n + input.word", "a text is not a number"),
        ("true + 1", "true or false is not a number"),
        ("input.none + 1", "null is not a number"),
        ("input.word > 3", "not supported"),
        ("'ab' * 1000000", "is not a number"),
        ("'%999999999d' % 1", "is not a number"),
        ("2 ** 9999", "pow is not part"),
        ("7 // 2", "floordiv is not part"),
        ("'a' ~ 'b'", "concat is not part"),
        ("9e300 * 9e300", "too large"),
        ("9" * 80 + "*" + "9" * 80, "too large"),
        ("1e999", "too large"),
        ("round(3.2)", "call is not part"),
        ("input.items()", "call is not part"),
        ("range(9)", "call is not part"),
        ("input | attr('n')", "no filter 'attr'"),
        ("input.word | format(1)", "no filter 'format'"),
        ("input.sales | map('upper')", "names the attribute"),
        ("input.sales | map(attribute=input.word)", "is a text"),
        ("input.sales | selectattr('sum', 'bigger', 3)", "no test 'bigger'"),
        ("{input.word: 1}", "the names of an object are texts"),
        ("input.word | round", "a text is not a number"),
        ("'soon' | date", "not a date"),
        ("1 2", "an expression ends before this does"),
        ("{{ input.n }}", "stands without braces"),
        ("input.n +", "unexpected"),
        ("", "unexpected|Expected"),
        ("(" * 900 + "1" + ")" * 900, "nested too deeply"),
        ("'\"'" + "|tojson" * 60, "more than 2,000,000"),
        ("self", "not a variable"),
    ],
)
def test_what_an_expression_refuses_in_words(expression: str, words: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InvalidInput, match=words):
        evaluate(expression, VISIBLE)
    assert time.monotonic() - begin < 5


def test_a_text_that_is_one_template_gives_its_value() -> None:
    given = {
        "list": "{{ steps.find.output.results }}",
        "block": "{{ input.n }}\n",
        "text": "{{ input.n }} of {{ input.sales }}, {{ true }}, {{ input.none }}",
        "loop": "{% for one in input.sales %}{{ loop.index }}. {{ one.who }}\n{% endfor %}",
        "if": "{% if input.n > 2 %}many{% else %}few{% endif %}",
        "deep": [{"{{ name }}": "{{ input.word }}"}, 7, None],
        "as it is": "100 % {of} it",
        "raw": "{% raw %}{{ x }}{% endraw %}",
    }
    assert fill(given, VISIBLE) == {
        "list": [1, 2],
        "block": 3,
        "text": '3 of [{"sum": 5, "who": "a"}, {"sum": 1.5, "who": "b"}], true, null',
        "loop": "1. a\n2. b\n",
        "if": "many",
        "deep": [{"{{ name }}": "tea"}, 7, None],
        "as it is": "100 % {of} it",
        "raw": "{{ x }}",
    }
    assert holds_template(given)
    assert not holds_template(given["as it is"])


def test_what_a_value_holds_is_never_read_as_template() -> None:
    visible = {"input": {"text": "{{ steps.secret.output }}{% for x in y %}"}, "steps": {"secret": {"output": "s"}}}
    assert fill({"a": "{{ input.text }}", "b": "<{{ input.text }}>"}, visible) == {
        "a": visible["input"]["text"],
        "b": f"<{visible['input']['text']}>",
    }


def test_what_an_expression_reads() -> None:
    assert names_of("steps.find.output.results | length > input.n") == {
        ("steps", "find", "output", "results"),
        ("input", "n"),
    }
    assert names_of("steps.a.output | selectattr('x.y', '>', input.n) | map(attribute='z') | sum") == {
        ("steps", "a", "output"),
        ("steps", "a", "output", "[]", "x", "y"),
        ("steps", "a", "output", "[]", "z"),
        ("input", "n"),
    }
    assert names_of("(steps.a.output | first).b['c'][0].d if item else 1") == {
        ("steps", "a", "output"),
        ("steps", "a", "output", "[]", "b", "c", "[]", "d"),
        ("item",),
    }
    template = "{% for row in steps.a.output.rows %}{{ row.x }} {{ loop.index }} {{ y }}{% endfor %}"
    assert names_in({"one": [template], "two": "no template"}) == {
        ("steps", "a", "output", "rows"),
        ("steps", "a", "output", "rows", "[]", "x"),
        ("y",),
    }


class Secret:
    """An object with attributes and methods that an expression must not reach."""

    hidden = "HIDDEN"

    def __call__(self) -> str:
        return self.hidden

    def __repr__(self) -> str:
        return "HIDDEN"

    def __getitem__(self, name: str) -> str:
        raise KeyError(name)


_NAMES = """input steps item n word sales hidden who sum find output items format true none loop self __class__ __mro__
__init__ __globals__ mro gi_frame f_back keys append upper real _environment environment context cycler lipsum"""
_WORDS = st.sampled_from(_NAMES.split())
_CONSTANTS = st.sampled_from(["1", "0", "2.5", "'x'", "'__class__'", "'{0.__class__}'", "[]", "['a', 1]", "{'a': 1}"])
_FILTERS = st.sampled_from([*sorted(FILTERS), "attr", "xmlattr", "pprint", "format", "groupby", "list", "string"])
_ARGUMENTS = st.sampled_from(["", "()", "('who')", "(attribute='who')", "('sum', '>', 1)", "(2)", "('__class__')"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "%", "==", "<", "and", "or", "in", "**", "~", "//"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("{}.{}".format, inner, _WORDS),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}['{}']".format, inner, _WORDS),
        st.builds("({} | {}{})".format, inner, _FILTERS, _ARGUMENTS),
        st.builds("{}()".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("({} is {})".format, inner, _WORDS),
        st.builds("-{}".format, inner),
    )


EXPRESSIONS = st.recursive(st.one_of(_WORDS, _CONSTANTS), _grown, max_leaves=12)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


@settings(deadline=None, max_examples=1500, derandomize=True, database=None)
@given(EXPRESSIONS)
def test_an_expression_gives_a_json_value_or_a_refusal(expression: str) -> None:
    """Whatever is written: no attribute, no call, no other exception; and a template of it behaves the same."""
    for act in (lambda: evaluate(expression, VISIBLE), lambda: fill(f"x {{{{ {expression} }}}}", VISIBLE)):
        try:
            assert _is_json(act())
        except InvalidInput:
            continue


@settings(deadline=None, max_examples=600, derandomize=True, database=None)
@given(EXPRESSIONS)
def test_no_expression_reaches_into_an_object(expression: str) -> None:
    """Were an object ever among the values, its attributes, items and methods would still be out of reach."""
    visible = {**VISIBLE, "item": Secret(), "hidden": {"of": Secret()}}
    try:
        found = evaluate(expression, visible)
    except InvalidInput:
        return
    assert not isinstance(found, str) or "HIDDEN" not in found
    assert not callable(found) or isinstance(found, Secret)


@settings(deadline=None, max_examples=400, derandomize=True, database=None)
@given(st.text(alphabet="{}%#'\"|.[]() \n\\abn1+-*_:,=<>", max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    for act in (lambda: fill(text, VISIBLE), lambda: evaluate(text, VISIBLE), lambda: names_in(text)):
        try:
            act()
        except InvalidInput:
            continue


def test_what_it_reads_is_all_that_it_needs() -> None:
    """An expression evaluated with nothing but the paths that it says it reads comes to the same."""
    for expression in ("input.sales | sum(attribute='sum')", "steps.find.output.of.title + input.word"):
        seen: dict[str, Any] = {}
        for path in names_of(expression):
            at, whole = seen, VISIBLE
            for part in path[: path.index("[]") if "[]" in path else len(path)]:
                whole = whole[part]
                at = at.setdefault(part, {} if isinstance(whole, dict) else whole) if isinstance(at, dict) else at
        assert evaluate(expression, seen) == evaluate(expression, VISIBLE)


def test_time_is_bounded() -> None:
    """Comparisons cost what their lists are long, and loops repeat them: what counts no items counts time."""
    slow = (time.sleep(0.01) or "" for _ in range(10_000))
    begin = time.monotonic()
    with pytest.raises(SecurityError, match=r"take longer than 0\.2 seconds"):
        gathered(slow, "it", 0.2)
    assert time.monotonic() - begin < 5


def test_work_is_bounded() -> None:
    """Loops over long lists, and lists that are put together again and again, end soon."""
    visible = {"input": {"xs": list(range(100_000)), "text": "x" * 1_900_000}}
    for template in (
        "{% for a in input.xs %}{% for b in input.xs %}{{ input.xs | sum }}{% endfor %}{% endfor %}",
        "{% for a in input.xs %}{% for b in input.xs %}x{% endfor %}{% endfor %}",
        "{{ " + "+".join(["input.xs"] * 30) + " }}",
        "{{ input.text + input.text }}",
        "{{ input.xs" + "|sort" * 100 + " }}",
    ):
        begin = time.monotonic()
        with pytest.raises(InvalidInput, match=r"more than|too much work"):
            fill(template, visible)
        assert time.monotonic() - begin < 20
