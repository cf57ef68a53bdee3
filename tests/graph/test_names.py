"""The normal form of a name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.names import MAX_KEY, base_name, name_key


@pytest.mark.parametrize(
    "names",
    [
        ("The BOD 22-01's", "bod 22 01", "BOD 22–01", "bod_22_01"),
        ("José Álvarez", "JOSE ALVAREZ", "jose\u0301  alvarez"),
        ("The Bank of England’s", "bank of england", "Bank  of\nEngland"),
        ("Straße", "STRASSE"),
        ("AT&T", "at t"),
    ],
)
def test_forms_of_one_name(names: tuple[str, ...]) -> None:
    assert len({name_key(name) for name in names}) == 1


def test_names_that_differ() -> None:
    assert name_key("SP 800-63A") != name_key("SP 800-63B")
    assert name_key("The Who") == "who"
    assert name_key("A") == "a"
    assert name_key("…—!") == ""


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["the ", "a ", "An ", "’s", "'s ", "É", "ǰ", "_", "-", "x", "İ", "s"]), max_size=8).map(
        "".join
    )
)
def test_a_key_is_plain(name: str) -> None:
    key = name_key(name)
    assert len(key) <= MAX_KEY
    assert key == " ".join(key.split())
    assert name_key(f"  {name}. ") == key


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(st.text(max_size=40).filter(lambda text: not text.casefold().lstrip().startswith(("the", "a", "an"))))
def test_a_key_is_its_own_key(name: str) -> None:
    """But for articles: "The The" loses one at a time."""
    key = name_key(name)
    assert key.startswith(("the ", "a ", "an ")) or name_key(key) == key


@pytest.mark.parametrize(
    ("title", "base"),
    [("Ed Wood (film)", "Ed Wood"), ("Paris, Texas", "Paris"), ("Plain", None), ("(odd)", None)],
)
def test_base_name(title: str, base: str | None) -> None:
    assert base_name(title) == base
