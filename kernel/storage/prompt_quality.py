"""How well each version of a prompt did, from the facts of its answers and what people said of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import func, or_, select

from kernel.storage.database import Database
from kernel.storage.rows import parts
from kernel.storage.schema import answer, feedback

COUNTED = ("answered", "partial", "abstained", "pending_review", "failed")


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one version: how many answers came out how, their mean confidence where they have text, and the mean of the
    last word of each person on each answer (0 to 1), with how many words that is; None where there is nothing to mean.
    Of people who were erased every word counts: nobody knows any more which were of one.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    confidence: float | None = None
    feedback: float | None = None
    opinions: int = 0


class PromptQuality:
    """Reads figures of versions; they name nobody and quote nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, prompts: Collection[str]) -> dict[str, Quality]:
        """The figures of each of these versions (by hash) that answered anything."""
        statuses: dict[str, dict[str, int]] = {}
        sure: dict[str, tuple[float, int]] = {}
        said: dict[str, tuple[float, int]] = {}
        last = select(func.max(feedback.c.leaf)).group_by(feedback.c.answer_number, feedback.c.actor)
        with self._database.read() as connection:
            for some in parts(sorted(prompts)):
                mine = answer.c.prompt_sha256.in_(some)
                columns = (answer.c.prompt_sha256, answer.c.status, func.count(), func.sum(answer.c.confidence))
                query = select(*columns).where(mine).group_by(answer.c.prompt_sha256, answer.c.status)
                for digest, status, count, total in connection.execute(query):
                    statuses.setdefault(digest, {})[status] = count
                    if status in ("answered", "partial"):
                        before = sure.get(digest, (0.0, 0))
                        sure[digest] = (before[0] + total, before[1] + count)
                words = select(answer.c.prompt_sha256, func.sum(feedback.c.score), func.count())
                words = words.join(answer, answer.c.number == feedback.c.answer_number)
                words = words.where(mine, or_(feedback.c.leaf.in_(last), feedback.c.actor == "")).group_by(
                    answer.c.prompt_sha256
                )
                said.update({digest: (total, count) for digest, total, count in connection.execute(words)})
        return {
            digest: Quality(found, _mean(sure.get(digest)), _mean(said.get(digest)), said.get(digest, (0.0, 0))[1])
            for digest, found in statuses.items()
        }


def _mean(total: tuple[float, int] | None) -> float | None:
    return round(total[0] / total[1], 4) if total else None
