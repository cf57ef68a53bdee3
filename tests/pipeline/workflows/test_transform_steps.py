"""Steps of kinds `transform` and `compare`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside_parts import call_of
from pydantic import ValidationError

from kernel.errors import InvalidInput
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.schema_paths import TEMPLATE
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import StepFailed
from pipeline.workflows.steps.transform import (
    CompareKind,
    CompareWith,
    TransformKind,
    TransformWith,
    shape_of,
)

MONDAY = date(2026, 3, 2)


def compare(rows: list[dict[str, Any]], **more: Any) -> Any:
    with_ = {"rows": rows, "value": "amount", "date": "day"} | more
    made = CompareKind().run(CompareWith.model_validate(with_), call_of("compare")).output
    assert schema_faults(made, CompareKind().output(call_of("compare").step)) == []
    return made


def weeks(region: str, *amounts: float) -> list[dict[str, Any]]:
    """A row a week of a region, the newest last."""
    first = MONDAY - timedelta(weeks=len(amounts) - 1)
    return [
        {"region": region, "day": (first + timedelta(weeks=n, days=n % 7)).isoformat(), "amount": amount}
        for n, amount in enumerate(amounts)
    ]


def test_a_value_comes_out_as_it_is_and_fits_its_schema() -> None:
    value = {"names": ["a", "b"], "count": 2}
    assert TransformKind().run(TransformWith(value=value), call_of("transform")).output == value
    schema = {"type": "object", "properties": {"count": {"type": "integer", "maximum": 1}}}
    given = TransformWith.model_validate({"value": value, "schema": schema})
    with pytest.raises(StepFailed, match="does not fit: count: 2 is greater"):
        TransformKind().run(given, call_of("transform"))
    with pytest.raises(ValidationError):
        TransformWith.model_validate({"value": 1, "schema": {"type": "nonsense"}})
    with pytest.raises(ValidationError):
        TransformWith.model_validate({"schema": {}})


def test_what_is_written_out_is_known_of_the_output() -> None:
    step = {"id": "a", "kind": "transform", "with": {"value": {"n": 1, "t": "{{ input.t }}", "w": "x", "l": []}}}
    assert TransformKind().output(Step.model_validate(step)) == {
        "type": "object",
        "properties": {
            "n": {"type": "number"},
            "t": {TEMPLATE: "{{ input.t }}"},
            "w": {"type": "string"},
            "l": {"type": "array"},
        },
        "required": ["l", "n", "t", "w"],
    }
    step["with"] = {"value": "{{ x }}", "schema": {"type": "integer"}}
    assert TransformKind().output(Step.model_validate(step)) == {"type": "integer"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_value_fits_what_is_known_of_it(value: Any) -> None:
    assert schema_faults(value, shape_of(value)) == []


def test_a_week_is_compared_with_the_four_before_it() -> None:
    made = compare(
        [*weeks("north", 900, 100, 100, 100, 100, 84), *weeks("south", 100, 100, 100, 100, 85)], by=["region"]
    )
    assert made["period"] == {"from": "2026-03-02", "to": "2026-03-08"}
    assert [one["from"] for one in made["priors"]] == ["2026-02-23", "2026-02-16", "2026-02-09", "2026-02-02"]
    north, south = made["groups"]
    assert (north["value"], north["mean"], north["change"], north["percent"], north["flag"]) == (
        84,
        100,
        -0.16,
        -16.0,
        "drop",
    )
    assert (south["change"], south["flag"]) == (-0.15, None), "exactly the threshold is not over it"
    assert made["flagged"] == [north]
    assert made["rows"] == 10, "the week before the four is left out"


def test_rises_new_and_gone_groups_are_told_apart() -> None:
    rows = [*weeks("up", 10, 10, 10, 10, 21), *weeks("new", 5), *weeks("gone", 1, 1, 1)[:2]]
    made = compare(rows, by=["region"], rise=1.0, drop=None)
    assert {one["group"]["region"]: one["flag"] for one in made["groups"]} == {
        "gone": "gone",
        "new": "new",
        "up": "rise",
    }
    zero = compare(rows, by=["region"], missing="zero")
    found = {one["group"]["region"]: (one["value"], one["mean"], one["flag"]) for one in zero["groups"]}
    assert found == {"gone": (0, 0.5, "drop"), "new": (5, 0, None), "up": (21, 10, None)}


@pytest.mark.parametrize(("how", "value"), [("sum", 6), ("mean", 2), ("count", 3), ("min", 1), ("max", 3)])
def test_what_a_period_comes_to(how: str, value: int) -> None:
    rows = [{"day": "2026-03-02T10:00:00Z", "amount": n} for n in (1, 2, 3)]
    (group,) = compare(rows, combine=how)["groups"]
    assert (group["group"], group["value"], group["flag"]) == ({}, value, "new")


@pytest.mark.parametrize(
    ("period", "spans"),
    [
        ("day", [("2026-03-01", "2026-03-01"), ("2026-02-28", "2026-02-28")]),
        ("week", [("2026-02-23", "2026-03-01"), ("2026-02-16", "2026-02-22")]),
        ("month", [("2026-03-01", "2026-03-31"), ("2026-02-01", "2026-02-28")]),
        ("quarter", [("2026-01-01", "2026-03-31"), ("2025-10-01", "2025-12-31")]),
        ("year", [("2026-01-01", "2026-12-31"), ("2025-01-01", "2025-12-31")]),
    ],
)
def test_periods_are_those_of_the_calendar(period: str, spans: list[tuple[str, str]]) -> None:
    made = compare([{"day": "2020-01-01", "amount": 1}], period=period, at="2026-03-01", prior=1)
    assert [(one["from"], one["to"]) for one in (made["period"], *made["priors"])] == spans
    assert (made["groups"], made["rows"]) == ([], 0)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ab"), st.decimals(0, 1000, places=2)), min_size=1),
    st.randoms(),
)
def test_the_order_of_rows_changes_nothing(facts: list[tuple[int, str, Any]], chance: Any) -> None:
    rows = [
        {"day": (MONDAY + timedelta(days=days)).isoformat(), "region": region, "amount": float(amount)}
        for days, region, amount in facts
    ]
    before = compare(list(rows), by=["region"])
    chance.shuffle(rows)
    assert compare(rows, by=["region"]) == before


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"day": "2026-03-02"}, "row 0 has no amount"),
        ({"day": "2026-03-02", "amount": "5"}, "amount of row 0 is not a number"),
        ({"day": "2026-03-02", "amount": True}, "is not a number"),
        ({"day": "2026-03-02", "amount": float("nan")}, "is not a number"),
        ({"day": "yesterday", "amount": 5}, "day of row 0 is not a day"),
        ({"day": "2026-03-02", "amount": 5, "region": ["a"]}, "no plain value"),
    ],
)
def test_a_row_that_cannot_be_compared_says_so(row: dict[str, Any], said: str) -> None:
    with pytest.raises((StepFailed, InvalidInput), match=said):
        compare([row], by=["region"] if "region" in row else [])


def test_no_rows_are_a_failure_not_a_silent_good_week() -> None:
    with pytest.raises(StepFailed, match="no rows"):
        compare([])
