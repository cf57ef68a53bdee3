"""What a version must have behind it before callers get it without naming it: approvals, green tests, an owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from kernel.errors import Conflict, InvalidInput
from kernel.records import ModelInfo, PromptVersion
from pipeline.prompts.anatomy import Header, Label, Strict, faults_text, read_prompt
from pipeline.prompts.state import PromptState, Standing

MOST_RULES = 50
OWN_WORDS = "extractive"
"""The provider of answers that take no model."""
Texts = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class Gates:
    """What the policy in force asks of a version; `model` is the one that must have passed its tests, and those of
    `suites`, where the version names none of its own.
    """

    approvals: int = 1
    tests: bool = True
    owner: bool = False
    model: str = "extractive"
    suites: tuple[str, ...] = ()


class When(Strict):
    """Who a rule is for: all that is named must hold. `models` may hold `*`."""

    models: Texts | None = None
    groups: Texts | None = None
    roles: Annotated[list[Literal["app", "reviewer", "editor", "admin"]], Field(min_length=1)] | None = None
    keys: Texts | None = None
    stakes: Annotated[list[Literal["low", "medium", "high"]], Field(min_length=1)] | None = None


class SelectionRule(Strict):
    """A label, and who gets it."""

    when: When
    label: Label


def check_rules(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules as they are kept. Raises InvalidInput that names what is wrong."""
    if len(rules) > MOST_RULES:
        raise InvalidInput(f"a prompt may have at most {MOST_RULES} rules")
    found = []
    for number, rule in enumerate(rules, 1):
        try:
            checked = SelectionRule.model_validate(rule)
        except ValidationError as error:
            raise InvalidInput(f"rule {number}: {faults_text(error)}") from error
        if not checked.when.model_dump(exclude_none=True):
            raise InvalidInput(f"rule {number}: `when` is empty; callers that no rule names get production")
        found.append(checked.model_dump(exclude_none=True))
    return found


def check_guarded(version: PromptVersion, known: PromptState, gates: Gates) -> None:
    """Raises Conflict that says what a version still needs before callers get it. One that was live before needs
    nothing.
    """
    missing = missing_now(version, known, gates)
    if missing:
        raise Conflict(f"version {version.version} of prompt {version.name} cannot go live: {'; '.join(missing)}")


def missing_now(version: PromptVersion, known: PromptState, gates: Gates) -> list[str]:
    """What keeps a version from callers now; nothing where it was live before and is not retired."""
    standing = known.standing(version.version)
    if known.retired or standing.retired:
        return ["it is retired"]
    return [] if known.was_live(version.version) else missing_for_release(version, standing, gates)


def missing_for_release(version: PromptVersion, standing: Standing, gates: Gates) -> list[str]:
    """What a version lacks, each as a clause that says what to do."""
    found = []
    anatomy = read_prompt(version.template)
    if gates.owner and not anatomy.header.owner:
        found.append("it names no owner")
    if gates.approvals and not (standing.submitted and len(standing.approvers) >= gates.approvals):
        have = len(standing.approvers) if standing.submitted else 0
        what = "submit it for review" if not standing.submitted else "somebody other than its author must approve it"
        found.append(f"it has {have} of {gates.approvals} approvals ({what})")
    if gates.tests:
        provider, _, name = gates.model.partition("/")
        model = model_of(anatomy.header, ModelInfo(provider, name)) if name else gates.model
        found += _missing_tests(bool(anatomy.cases), standing, model, gates.suites)
    return found


def model_of(header: Header, info: ModelInfo, named: str | None = None) -> str:
    """`provider/name` of the model that replies to a prompt: the one that is named, else the prompt's own, else the
    configured one. Own words of the documents take no model.
    """
    if info.provider == OWN_WORDS:
        return f"{info.provider}/{info.name}"
    return f"{info.provider}/{named or header.model.name or info.name}"


def _missing_tests(cases: bool, standing: Standing, model: str, suites: Sequence[str]) -> list[str]:
    outcome = standing.tests.get(model)
    if not cases:
        return ["it has no test cases (add a section `# tests`)"]
    if outcome is None:
        return [f"its tests were not run with the model {model} (vouch prompts test)"]
    if not outcome.passed:
        return [f"its tests failed with the model {model} (entry {outcome.leaf} of the ledger)"]
    lacking = [one for one in suites if one not in outcome.data.get("suites", ())]
    return [f"the suite {one} was not run with the model {model} (vouch prompts test --suite {one})" for one in lacking]
