"""The workspace's policies ready to judge by: which is in force, and which one a record was made under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from kernel.errors import Conflict, IntegrityFailure, InvalidInput
from kernel.ids import sha256
from kernel.records import PolicyVersion
from kernel.storage.policies import Policies
from pipeline.oversight.policy import SHIPPED, Compiled, compile_policy, read_policy, shipped_policy
from pipeline.oversight.rules import CheckReply, Verdict, judge_input, matter_of, refusal, verdict_json

_BARE = "format: 1\nname: none\n"
"""What records of before there were policies were made under."""
KEPT = 32


@dataclass(frozen=True, slots=True)
class PinnedPolicy:
    """What the policy made of an answer follows from: its text, the moment of asking, and what a model replied."""

    policy: Compiled
    at: str
    replies: Mapping[str, CheckReply] | None


class PolicyBook:
    """Reads which version is in force for each question; a version is compiled once."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._of = lru_cache(maxsize=KEPT)(self._read)

    @property
    def stored(self) -> Policies:
        """The stored versions."""
        return self._policies

    def in_force(self) -> Compiled:
        """The policy of the last release, or the one that came with the program.

        Raises IntegrityFailure where its text was changed or cannot be read: then nothing is answered.
        """
        digest = self._policies.released_sha256()
        return compile_policy(shipped_policy()) if digest is None else self._of(digest)

    def by_sha256(self, digest: str) -> Compiled:
        """The policy of a hash. Raises NotFound."""
        return compile_policy(shipped_policy()) if digest == shipped_policy().sha256 else self._of(digest)

    def pinned(self, body: Mapping[str, Any], run: Mapping[str, Any]) -> PinnedPolicy:
        """What the record of an answer was judged by, to judge it again. Raises NotFound."""
        said = body.get("policy")
        if said is None:
            return PinnedPolicy(compile_policy(PolicyVersion(SHIPPED, sha256(_BARE), _BARE, "", "", "")), "", {})
        replies = {name: CheckReply(**reply) for name, reply in run["policy_checks"].items()}
        return PinnedPolicy(self.by_sha256(said["sha256"]), run["asked_at"], replies)

    def add(self, text: str, author: str, message: str) -> PolicyVersion:
        """Check a text and store it as the next version. Raises InvalidInput that names what is wrong, Conflict."""
        read_policy(text)
        return self._policies.add(text, author, message)

    def release(self, number: int, by: str) -> PolicyVersion:
        """Put a version in force, from the next question on. Raises NotFound, Conflict."""
        shipped = self._shipped()
        return self._policies.release(number, by, shipped if number == shipped.number else None)

    def rollback(self, by: str) -> PolicyVersion:
        """Put the version back in force that was before the last release. Raises Conflict where there was none."""
        moves = self._policies.releases()
        if not moves:
            raise Conflict("no policy was released yet: there is nothing to go back from")
        return self.release(moves[1][1] if len(moves) > 1 else self._shipped().number, by)

    def items(self) -> list[PolicyVersion]:
        """Every version, newest first, the shipped one included."""
        shipped = self._shipped()
        return [*(one for one in self._policies.items() if one.number != shipped.number), shipped]

    def get(self, number: int) -> PolicyVersion:
        """A version by number; 0 came with the program. Raises NotFound."""
        shipped = self._shipped()
        return shipped if number == shipped.number else self._policies.get(number)

    def shipped(self) -> PolicyVersion:
        """The version that came with this program."""
        return self._shipped()

    def _shipped(self) -> PolicyVersion:
        """The version that came with this program, under the number that it has, or gets when it is first used."""
        shipped, stored = shipped_policy(), self._policies.items()
        lowest = min((one.number for one in stored if one.number <= SHIPPED), default=SHIPPED + 1)
        found = (one for one in stored if one.sha256 == shipped.sha256)
        return next(found, replace(shipped, number=lowest - 1))

    def _read(self, digest: str) -> Compiled:
        version = self._policies.by_sha256(digest)
        if sha256(version.text) != digest:
            raise IntegrityFailure(f"the text of policy {version.number} is not the one that was stored")
        try:
            return compile_policy(version)
        except InvalidInput as error:
            raise IntegrityFailure(f"policy {version.number} cannot be read by this program: {error}") from error


def tried(text: str, question: str | None, stakes: str | None = None) -> dict[str, Any]:
    """What a policy's text is, and what its input rules say of a question. Raises InvalidInput for a wrong one."""
    compiled = compile_policy(PolicyVersion(SHIPPED, sha256(text), text, "", "", ""))
    policy = compiled.policy
    counts = {"input": len(policy.input), "context": len(policy.context), "output": len(policy.output)}
    found: dict[str, Any] = {"ok": True, "name": policy.name, "sha256": compiled.version.sha256, "rules": counts}
    if question is None:
        return found
    matter = matter_of(compiled, question, stakes)
    verdicts: list[Verdict] = judge_input(compiled, matter, question)
    return found | {
        "question": {
            "topics": sorted(matter.topics),
            "stakes": matter.stakes,
            "refused": refusal(compiled, verdicts),
            "verdicts": [verdict_json(one) for one in verdicts],
        }
    }
