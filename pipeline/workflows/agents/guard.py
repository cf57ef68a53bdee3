"""The policy that a run is pinned to, and the agents of the run."""

from __future__ import annotations

from kernel.ports import OutputChecker
from kernel.records import AnswerStatus, Grounded
from pipeline.oversight.policy import THRESHOLDS
from pipeline.oversight.policy_book import PolicyBook
from pipeline.oversight.rules import REVIEW, asked, decided, judge_input, judge_output, matter_of, refusal
from pipeline.workflows.agents.ports import Ruling
from pipeline.workflows.steps.base import Call

GOES_ON = Ruling()


class PolicyGuard:
    """Judges goals and results as prompts' inputs and replies are judged. A result has no measured confidence, so
    thresholds of confidence do not judge it.
    """

    def __init__(self, book: PolicyBook, checker: OutputChecker | None = None) -> None:
        self._book = book
        self._checker = checker

    def before(self, call: Call, text: str) -> Ruling:
        """Whether a goal, with what it is about, may be worked on."""
        policy = self._book.by_sha256(call.pins.policy)
        verdicts = judge_input(policy, matter_of(policy, text, call.stakes), text)
        waiting = [one.rule for one in verdicts if one.verdict == REVIEW]
        return Ruling(refusal(policy, verdicts), f"by {', '.join(waiting)}" if waiting else None)

    def after(self, call: Call, about: str, result: str) -> Ruling:
        """Whether a result may be given."""
        policy = self._book.by_sha256(call.pins.policy)
        matter = matter_of(policy, about, call.stakes)
        reply = Grounded(AnswerStatus.ANSWERED, None, result, 1.0)
        found, _ = judge_output(
            policy, matter, reply, lambda rule: asked(self._checker, rule, matter.text.plain, result)
        )
        left, review = decided(policy, reply, [one for one in found if one.rule != THRESHOLDS])
        refused = None if left.answer else str(left.reason)
        return Ruling(refused, f"by {', '.join(review.rules)}" if review is not None else None)
