"""What a judge said while an answer was made, kept with its record, and said again when the answer is replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel.errors import Unavailable
from kernel.ports import Judge
from kernel.records import Support

Said = Mapping[str, Any]
"""`{"claim", "quotes", "label", "score"}` of a verdict, or `{"claim", "quotes", "failed"}` where there was none."""


class RecordingJudge:
    """Asks a judge, and keeps what it said in `said`."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.said: list[Said] = []

    @property
    def model(self) -> str:
        """The judge's model."""
        return self._judge.model

    @property
    def prompt(self) -> str:
        """The judge's prompt."""
        return self._judge.prompt

    def judge(self, claim: str, quotes: Sequence[str]) -> Support:
        """The judge's verdict. Raises Unavailable where it has none."""
        asked = {"claim": claim, "quotes": list(quotes)}
        try:
            found = self._judge.judge(claim, quotes)
        except Unavailable as error:
            self.said.append(asked | {"failed": str(error)})
            raise
        self.said.append(asked | {"label": found.label, "score": found.score})
        return found


class RecordedJudge:
    """Says what a record says that a judge said."""

    def __init__(self, model: str, prompt: str, said: Sequence[Said]) -> None:
        self.model = model
        self.prompt = prompt
        self._said = {(one["claim"], *one["quotes"]): one for one in said}

    def judge(self, claim: str, quotes: Sequence[str]) -> Support:
        """The recorded verdict. Raises Unavailable where the judge had none, or was not asked this."""
        one = self._said.get((claim, *quotes))
        if one is None or "failed" in one:
            raise Unavailable(one["failed"] if one else "the record holds no verdict on this sentence")
        return Support(one["label"], one["score"])
