"""The desk of people in the loop: what runs of workflows ask of them, and deciding on it.

Four eyes: who started the run and who wrote the workflow do not decide on a review; a question may be answered by who
started the run. A decision names the hash of what was seen, and records the hash of exactly what will happen then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kernel.errors import Conflict, Forbidden, InvalidInput, PreconditionRequired
from kernel.records import Principal, Role
from kernel.storage.keys import Keys
from kernel.storage.rows import now
from kernel.storage.runs import Run
from kernel.storage.task_figures import TaskFigures, by_step
from kernel.storage.task_journal import (
    ANSWERED,
    APPROVED,
    ASSIGNED,
    COMMENTED,
    DELEGATED,
    ESCALATED,
    MARKED,
    OPEN,
    QUESTION,
    REJECTED,
    REVIEW,
    ROLES,
    SORTS,
    STATES,
    UNMARKED,
    Task,
    effect_sha256,
    what_sha256,
)
from kernel.storage.tasks import Tasks, escalation
from pipeline.oversight.reviews import plain_text
from pipeline.workflows.asking import Asks, Notifier, effects_json, values_of
from pipeline.workflows.people_rules import TaskRules, oversees
from pipeline.workflows.people_views import Evidence, label_of, task_detail, task_json
from pipeline.workflows.steps.base import Json
from pipeline.workflows.steps.review import decided

Preview = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]
"""`preview(run, step, output)`: by effect step, the `with` that it gets where the review step puts `output` out."""
SHORTEST_HASH = 12


class PeopleDesk:
    """What people do with tasks. Every method raises NotFound for an unknown task, Forbidden for who may not."""

    def __init__(
        self,
        tasks: Tasks,
        keys: Keys,
        asks: Asks,
        *,
        preview: Preview,
        submit: Callable[[Run, float], None],
        authors: Callable[[str], Collection[str]],
        evidence: Evidence,
        figures: TaskFigures,
        notifier: Notifier | None = None,
        causes: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        """`submit` has the engine go on with a run; `authors` gives who wrote a spec, by its hash; `causes` who
        started, forked or resumed a run; `evidence` an answer's body as a principal may see it.
        """
        self._tasks = tasks
        self._asks = asks
        self._preview = preview
        self._submit = submit
        self._rules = TaskRules(keys, authors, causes)
        self._evidence = evidence
        self._figures = figures
        self._notifier = notifier

    def items(
        self,
        actor: Principal,
        *,
        limit: int,
        state: str | None = None,
        mine: bool = False,
        run_id: str | None = None,
        sort: str | None = None,
        before: str | None = None,
    ) -> list[Json]:
        """Tasks, newest first, without their texts; `mine`: those that are assigned to `actor`. Who does not oversee
        sees those that they may decide on.
        """
        if state is not None and state not in STATES:
            raise InvalidInput(f"a task is {', '.join(STATES[:-1])} or {STATES[-1]}, not {state!r}")
        if sort is not None and sort not in SORTS:
            raise InvalidInput(f"a task is a {' or a '.join(SORTS)}, not a {sort!r}")
        found = self._tasks.items(
            limit=limit,
            state=state,
            mine=actor.id if mine else None,
            run_id=run_id,
            sort=sort,
            before=before,
            visible=None if actor.role.oversees else (actor.id, sorted(actor.role.reaches)),
        )
        return [task_json(one) for one in found]

    def show(self, task_id: str, actor: Principal) -> Json:
        """A task with all that is needed to decide: what is shown, evidence and verdicts of the policy, differences,
        what exactly will happen, and every step. Looking at an open task is noted, once a person.
        """
        self._asks.tend(task_id)
        found, stands, events = self._tasks.whole(task_id)
        self._rules.see(stands, actor)
        refusal = self._rules.refusal(found, stands, actor)
        if found.state == OPEN and refusal is None:
            self._tasks.view(task_id, actor.id)
            found, stands, events = self._tasks.whole(task_id)
        return task_detail(found, stands, events, actor, self._evidence) | {
            "may_decide": refusal is None,
            "why_not": refusal,
        }

    def form(self, task_id: str, actor: Principal) -> Json:
        """The form of a task, a JSON Schema."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.see(stands, actor)
        return dict(found.content.get("form", {}))

    def preview(self, task_id: str, values: Mapping[str, Any], actor: Principal) -> Json:
        """What will happen where the form is filled in so: each effect and its hash, and the hash over all of it."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.see(stands, actor)
        filled = values_of(found.content.get("form", {}), values)
        effects = self._effects(found, _output(found, filled))
        return {
            "id": found.id,
            "values": filled,
            "effects": effects_json(effects),
            "payload_sha256": what_sha256(found.content.get("shown", {}), filled, effects),
        }

    def approve(
        self,
        task_id: str,
        actor: Principal,
        seen: str | None,
        values: Mapping[str, Any] | None = None,
        comment: str = "",
    ) -> Json:
        """Approve what was seen: `seen` is its `payload_sha256`, or 12 of its characters or more. `values` are those of
        the form that were changed; what will happen with them is computed anew and recorded.

        Raises PreconditionRequired without `seen`, Conflict where what would happen is not what was seen.
        """
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.may(found, stands, actor, (REVIEW,))
        filled = values_of(found.content["form"], values or {})
        self._check_seen(found, filled, seen)
        at, comment = now(), plain_text(comment, "comment", empty=True)
        effects = self._effects(found, _output(found, filled, comment, actor.id, at))
        will = what_sha256(found.content["shown"], filled, effects)
        hashes = {step: effect_sha256(given) for step, given in effects.items()}
        payload = {"values": filled, "comment": comment, "at": at, "seen": found.payload_sha256, "effects": hashes}
        if effects != found.content["effects"]:
            payload["will"] = effects
        return self._decide(found, APPROVED, actor, payload, {"payload_sha256": will})

    def reject(self, task_id: str, reason: str, actor: Principal) -> Json:
        """Reject: the step fails with this reason, and nothing of what was shown happens."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.may(found, stands, actor, (REVIEW,), erased=True)
        payload = {"values": {}, "comment": plain_text(reason, "reason"), "at": now(), "effects": {}}
        return self._decide(found, REJECTED, actor, payload, {})

    def answer(self, task_id: str, values: Mapping[str, Any], actor: Principal, comment: str = "") -> Json:
        """Answer a question; the run goes on with the values."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.may(found, stands, actor, (QUESTION,))
        filled = values_of(found.content["form"], values)
        said = plain_text(comment, "comment", empty=True)
        payload = {"values": filled, "comment": said, "at": now(), "effects": {}}
        return self._decide(found, ANSWERED, actor, payload, {})

    def comment(self, task_id: str, text: str, actor: Principal) -> Json:
        """Add a comment; decided tasks take them too."""
        return self._step(task_id, COMMENTED, actor, {"comment": plain_text(text, "comment")})

    def mark(self, task_id: str, label: str, actor: Principal, *, off: bool = False) -> Json:
        """Mark a task with a label such as `needs-action`, or take that off; labels are counted."""
        return self._step(task_id, UNMARKED if off else MARKED, actor, {}, label=label_of(label))

    def assign(self, task_id: str, key_id: str, actor: Principal) -> Json:
        """Give a task to a person, who may decide on it from then on. Reviewers and admins do."""
        found = self._tasks.get(task_id)
        if not (actor.role.oversees if found.role else actor.role is Role.ADMIN):
            raise Forbidden("assigning needs a key of role reviewer or admin; one that is for a person, of role admin")
        return self._pass_on(found, ASSIGNED, key_id, actor)

    def delegate(self, task_id: str, key_id: str, actor: Principal) -> Json:
        """Pass a task on to another holder of its role, where the workflow lets that be. Who may decide does."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.may(found, stands, actor, SORTS)
        if not found.content.get("delegate", False):
            raise Conflict("the workflow does not let this be delegated: an admin can assign it")
        return self._pass_on(found, DELEGATED, key_id, actor)

    def escalate(self, task_id: str, actor: Principal, to: str = "", reason: str = "") -> Json:
        """Pass a task on to whom the workflow names for that, or to `to`: a role that oversees, or the id of a key."""
        found, stands, _ = self._tasks.whole(task_id)
        self._rules.see(stands, actor)
        target = to or str(found.content.get("escalate_to") or Role.ADMIN)
        if to in ROLES and not Role(to).oversees:
            raise InvalidInput(f"a task goes up to {Role.REVIEWER} or {Role.ADMIN}, or to a person, not to any {to}")
        payload = escalation(target) | {"comment": plain_text(reason, "reason", empty=True)}
        if "assignee" in payload:
            self._rules.check_holder(found, target, str(found.content.get("holders", Role.REVIEWER)))
        made = self._step(task_id, ESCALATED, actor, payload)
        self._tell(target if "assignee" in payload else f"role:{target}", found)
        return made

    def figures(self, actor: Principal, since: str = "") -> Json:
        """How many tasks are in each state and marked with each label; how long decisions took, by step."""
        oversees(actor)
        steps = by_step(self._figures.spans(since))
        return {"states": self._tasks.counts(), "labels": self._figures.labels(), "steps": steps}

    def breaches(self, actor: Principal, *, limit: int, since: str = "", before: str | None = None) -> list[Json]:
        """Tasks that nobody decided before their deadline, the newest first."""
        oversees(actor)
        return self._figures.breaches(since, limit, before)

    def _decide(self, found: Task, kind: str, actor: Principal, payload: Json, facts: Json) -> Json:
        made, woken = self._tasks.step(found.id, kind, actor.id, payload, facts=facts, check=self._rules.rule(actor))
        if woken is not None:
            self._submit(woken, 0.0)
        return task_json(made)

    def _check_seen(self, found: Task, filled: Mapping[str, Any], seen: str | None) -> None:
        """That what was seen is what is asked, as it stands or as filled in, and would still happen as it was shown."""
        if not seen:
            raise PreconditionRequired(
                f"name what you approve: seen is the payload_sha256 of {found.id} as you read it"
            )
        content = found.content
        hashes = [
            what_sha256(content["shown"], values, self._effects(found, _output(found, values)))
            for values in (content["values"], filled)
        ]
        if hashes[0] != found.payload_sha256:
            raise Conflict("what would happen is not what is shown any more: reject it, and start the run again")
        if len(seen) < SHORTEST_HASH or not any(one.startswith(seen) for one in hashes):
            raise Conflict("what you saw is not what is asked now: read it again")

    def _effects(self, found: Task, output: Json) -> Json:
        return dict(self._preview(found.run_id, found.step, output)) if found.content.get("effects") else {}

    def _pass_on(self, found: Task, kind: str, key_id: str, actor: Principal) -> Json:
        self._rules.check_holder(found, key_id, str(found.content.get("holders", Role.REVIEWER)))
        made = self._step(found.id, kind, actor, {"assignee": key_id})
        self._tell(key_id, found)
        return made

    def _step(self, task_id: str, kind: str, actor: Principal, payload: Json, label: str = "") -> Json:
        self._rules.see(self._tasks.whole(task_id)[1], actor)
        return task_json(self._tasks.step(task_id, kind, actor.id, payload, label=label)[0])

    def _tell(self, to: str, found: Task) -> None:
        if self._notifier is not None:
            self._notifier.tell(
                to, f"{found.workflow}, step {found.step}: this is yours", f"vouch reviews show {found.id}"
            )


def _output(found: Task, values: Mapping[str, Any], comment: str = "", by: str = "", at: str = "") -> Json:
    """What the review step puts out once it is approved; without `by`, as far as that is known before."""
    return decided(values) | {"comment": comment, "by": by, "at": at, "task": found.id if by else ""}
