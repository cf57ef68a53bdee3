"""Checking a claim: what no quote can ever support, what always is, and numbers and dates in every spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.providers.embedder import OnnxEmbedder
from kernel.records import Support
from pipeline.amounts import amounts, disagreement, other_codes
from pipeline.claims import shipped_checker, verbatim
from pipeline.reading import readings

QUOTES = {
    "leave": "An employee may take 16 weeks of parental leave.",
    "report": "Agencies must not report the incident within 72 hours of February 2, 2020.",
    "deal": "In 2019 Northwind Traders acquired Contoso for $1,000.",
    "code": "Error E-201 means that the certificate of the printer has expired.",
    "drug": "Aspirin reduces the risk of stroke in older patients.",
}


@pytest.fixture(scope="module", params=["vectors", "no vectors"])
def embedder(request: pytest.FixtureRequest, models: Path) -> OnnxEmbedder | None:
    return OnnxEmbedder(models / "all-MiniLM-L6-v2", 1) if request.param == "vectors" else None


def checked(claim: str, quote: str, embedder: OnnxEmbedder | None, title: str = "") -> Support:
    mine, theirs = readings([claim, quote], embedder)
    return shipped_checker().check(mine, [theirs], title).support


@pytest.mark.parametrize(
    ("claim", "quote", "label"),
    [
        ("An employee may take 12 weeks of parental leave.", "leave", "contradicted"),
        ("An employee may take twelve weeks of parental leave.", "leave", "contradicted"),
        ("An employee may not take 16 weeks of parental leave.", "leave", "contradicted"),
        ("Agencies must report the incident within 72 hours of 2 Feb 2020.", "report", "contradicted"),
        ("Agencies must not report the incident within 72 hours of 2 March 2020.", "report", "contradicted"),
        ("Contoso acquired Northwind Traders in 2019.", "deal", "contradicted"),
        ("Northwind Traders was acquired by Contoso.", "deal", "contradicted"),
        ("Northwind Traders acquired Contoso for $10,000.", "deal", "contradicted"),
        ("Aspirin increases the risk of stroke in older patients.", "drug", "contradicted"),
        ("Aspirin reduces the risk of stroke in younger patients.", "drug", "contradicted"),
        ("Marta Silva owns a sailing boat in Porto.", "leave", "not_found"),
        ("Error E-377 means that the certificate of the printer has expired.", "code", "not_found"),
    ],
)
def test_never_supported(claim: str, quote: str, label: str, embedder: OnnxEmbedder | None) -> None:
    found = checked(claim, QUOTES[quote], embedder)
    assert found.label == label
    assert found.score <= 0.2


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("An employee may take sixteen weeks of parental leave.", "leave"),
        ("An employee may take 112 days of parental leave.", "leave"),
        ("Agencies must not report the incident within 72 hours of 2020-02-02.", "report"),
        ("Contoso was acquired by Northwind Traders.", "deal"),
        ("Northwind Traders acquired Contoso for $1000.", "deal"),
        ("Aspirin reduces the risk of stroke.", "drug"),
    ],
)
def test_said_in_other_words(claim: str, quote: str, models: Path) -> None:
    embedder = OnnxEmbedder(models / "all-MiniLM-L6-v2", 1)
    assert checked(claim, QUOTES[quote], embedder).label == "supported"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(3, 9999), st.integers(3, 9999), st.sampled_from(["weeks", "dollars", "people", "%"]))
def test_a_number_that_is_denied_is_never_supported(one: int, other: int, unit: str) -> None:
    quote = f"The committee approved {one} {unit} for the new harbour project."
    label = checked(f"The committee approved {other} {unit} for the new harbour project.", quote, None).label
    assert (label == "supported") == (one == other)


@pytest.mark.parametrize(
    ("claim", "quotes", "missing"),
    [
        ("E-377 is an error", "E-201 is an error", {"e377"}),
        ("BOD 22-01 revokes it", "BOD 19-02 was before BOD 22-02", {"bod22-01"}),
        ("CVE-2021-44228 is fixed", "CVE-2021-45046 is fixed", {"cve2021-44228"}),
        ("Q3 sales rose", "Q2 sales rose", {"q3"}),
        ("version v1.2 works", "v1.2.1 works", set()),
        ("IL-6 falls", "IL6 and IL-10 fall", set()),
        ("In 2020 it rose by 30 to 10-15 mg", "In 1999 it fell by 20 mg", set()),
        ("E-377 is an error", "nothing of the kind", set()),
    ],
)
def test_a_code_is_not_another_of_its_family(claim: str, quotes: str, missing: set[str]) -> None:
    assert other_codes(claim, quotes) == missing


def test_word_for_word() -> None:
    """A whole statement supports itself; a part that its statement denies does not."""
    quote = "**Leave** is paid: see [the rules](http://x.y). Alcohol is not refunded, except at receptions."
    assert verbatim("Leave is paid: see the rules.", [quote])
    assert verbatim("Handbook — Leave is paid: see the rules.", [quote], "Handbook")
    assert not verbatim("Refunded, except at receptions.", [quote])
    assert not verbatim("Alcohol is not refunded.", [quote])
    assert checked("Leave is paid: see the rules.", quote, None) == Support("supported", 1.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000 people", "1000 people"),
        ("five files", "5 files"),
        ("twenty-one files", "21 files"),
        ("on 2 Feb 2020", "on 2020-02-02"),
        ("on February 2nd, 2020", "on 2 February 2020"),
        ("in February 2020", "on 2020-02-02"),
        ("in 2020", "on 2 February 2020"),
        ("50%", "half"),
        ("50 per cent", "50 percent"),
        ("$5 million", "5,000,000 dollars"),
        ("24 hours", "one day"),
        ("two weeks", "14 days"),
        ("18 months", "1.5 years"),
    ],
)
def test_one_amount_in_two_spellings(one: str, other: str) -> None:
    assert disagreement(amounts(one), amounts(other)) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("claim", "quote", "denied"),
    [
        ("5 days", "5 weeks", True),
        ("in 2019", "in 2020", True),
        ("on 3 Feb 2020", "on 2 Feb 2020", True),
        ("12 weeks", "no time", False),
        ("BOD 22-01 and IL-2", "nothing", None),
        ("one of them", "nothing", None),
    ],
)
def test_amounts_that_are_not_there(claim: str, quote: str, denied: bool | None) -> None:
    against, absent = disagreement(amounts(claim), amounts(quote))
    assert (bool(against), bool(absent)) == (denied is True, denied is False)


def test_batches_do_not_change_a_score(models: Path) -> None:
    """The score is the same whatever else is checked with it, and in whatever order."""
    embedder = OnnxEmbedder(models / "all-MiniLM-L6-v2", 1)
    claim = "Staff can take leave of sixteen weeks when they become parents."
    alone = checked(claim, QUOTES["leave"], embedder)
    many = readings([*QUOTES.values(), claim, "x " * 200], embedder)
    assert shipped_checker().check(many[len(QUOTES)], [many[0]]).support == alone
