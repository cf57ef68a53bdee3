"""Who uses a prompt and how much: favourites, counts by version and user, and what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernel.records import Principal, Role, WorkflowVersion
from kernel.storage.favourites import Favourites
from kernel.storage.prompt_quality import PromptQuality
from kernel.storage.prompt_runs import PromptRuns
from pipeline.prompts.library import PromptLibrary, no_prompt
from pipeline.prompts.releases import ReleaseDesk
from pipeline.prompts.state import LIVE
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.steps.base import Kind


@dataclass(frozen=True, slots=True)
class Dependent:
    """Something that uses a prompt: `kind` and `name` say what, `version` which version of it (0: what is in force)."""

    kind: str
    name: str
    version: int = 0
    detail: str = ""


Dependents = Callable[[str], Iterable[Dependent]]
"""What uses the prompt of a name: each kind of thing that can use prompts brings one of these."""


class PromptUses:
    """Reads the uses of prompts. `dependents` are asked in turn by `used_by`."""

    def __init__(
        self,
        library: PromptLibrary,
        runs: PromptRuns,
        favourites: Favourites,
        quality: PromptQuality,
        dependents: Sequence[Dependents],
    ) -> None:
        self._library = library
        self._runs = runs
        self._quality = quality
        self._favourites = favourites
        self._dependents = dependents

    def mark(self, name: str, principal: Principal, *, on: bool = True) -> list[str]:
        """Mark a prompt as a favourite, or take the mark off; all that are marked. Raises NotFound."""
        if on:
            self.known(name, principal)
        self._favourites.mark(principal, name, on=on)
        return self._favourites.of(principal)

    def favourites(self, principal: Principal) -> list[str]:
        """The prompts that somebody marked, by name."""
        return self._favourites.of(principal)

    def usage(self, name: str, principal: Principal) -> dict[str, Any]:
        """Answers and runs of each version, newest first, by user: reviewers see all, others their own. How well each
        did is for all but applications. Raises NotFound.
        """
        self.known(name, principal)
        numbers = self._library.heads()[name]
        uses = self._runs.uses(list(numbers.values()), principal)
        figures = {} if principal.role == Role.APP else self._quality.of(list(numbers.values()))
        versions: list[dict[str, Any]] = []
        for number, digest in sorted(numbers.items(), reverse=True):
            mine = [one for one in uses if one.prompt_sha256 == digest]
            users = [
                {"principal": one.principal, "answers": one.answers, "runs": one.runs, "last": one.last}
                for one in sorted(mine, key=lambda one: (-one.answers - one.runs, one.principal))
            ]
            counts = {"answers": sum(one.answers for one in mine), "runs": sum(one.runs for one in mine)}
            quality = asdict(figures[digest]) if digest in figures else None
            versions.append({"version": number, "sha256": digest, **counts, "users": users, "quality": quality})
        total = {kind: sum(int(one[kind]) for one in versions) for kind in ("answers", "runs")}
        return {
            "name": name,
            **total,
            "versions": [one for one in versions if one["answers"] + one["runs"] or one["quality"]],
        }

    def used_by(self, name: str, principal: Principal, more: Sequence[Dependents] = ()) -> list[Dependent]:
        """What depends on a prompt, `more` among that. Raises NotFound."""
        self.known(name, principal)
        return [one for dependents in (*self._dependents, *more) for one in dependents(name)]

    def known(self, name: str, principal: Principal) -> None:
        """Raises NotFound where there is no such prompt, or none that an application gets."""
        versions = self._library.heads().get(name)
        if versions is None:
            raise no_prompt(name)
        if principal.role == Role.APP and self._library.state_of(self._library.find(name)) != LIVE:
            raise no_prompt(name)


def library_dependents(library: PromptLibrary) -> Dependents:
    """Rules that choose labels of a prompt, and experiments over its versions."""

    def found(name: str) -> Iterable[Dependent]:
        known = library.state().of(name)
        for number, rule in enumerate(known.rules, 1):
            label = str(rule["label"])
            yield Dependent("rule", f"rule {number}", known.labels.get(label, 0), f"label {label}")
        for one in known.experiments.values():
            for arm in one.spec["arms"]:
                yield Dependent("experiment", one.id, int(arm["version"]), f"arm {arm['name']}, {one.state}")

    return found


def release_dependents(desk: ReleaseDesk) -> Dependents:
    """Releases that hold a version of a prompt."""

    def found(name: str) -> Iterable[Dependent]:
        current = desk.in_force()
        for one in desk.containing(name):
            state = "in force" if one.number == current else "not in force"
            yield Dependent("release", f"release {one.number}", int(one.manifest["prompts"][name]), state)

    return found


def workflow_dependents(library: WorkflowLibrary, kinds: Mapping[str, Kind]) -> Dependents:
    """Steps of workflows that name a prompt: of live versions, of pilots, and of the newest."""

    def found(name: str) -> Iterable[Dependent]:
        for version in _in_use(library):
            stage = f"{library.state_of(version)} version {version.version}"
            for step, label in _naming(version, kinds, name):
                pinned = int(label) if label.isdecimal() else 0
                detail = f"step {step} of {stage}" + (f", label {label}" if label and not pinned else "")
                yield Dependent("workflow", version.name, pinned, detail)

    return found


def _in_use(library: WorkflowLibrary) -> Iterable[WorkflowVersion]:
    """The versions of every workflow that run, and the newest of each."""
    state = library.state()
    for newest in library.newest():
        labels = library.labels(newest.name, state.of(newest.name))
        for number in sorted({newest.version, *labels.values()}):
            yield library.find(f"{newest.name}@{number}")


def _naming(version: WorkflowVersion, kinds: Mapping[str, Kind], name: str) -> Iterable[tuple[str, str]]:
    """The steps of a version that name a prompt, each with the label or number that it names."""
    for step in spec_of(version).steps:
        kind = kinds.get(step.kind)
        for reference in kind.prompts(step) if kind is not None else ():
            called, _, label = reference.partition("@")
            if called == name:
                yield step.id, label
