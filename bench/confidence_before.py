"""The confidence of the version before, kept to be compared with: eight features, fitted on multi-hop questions."""

from __future__ import annotations

import numpy as np

from kernel.records import AnswerStatus, Citation, Evidence, Grounded
from pipeline.calibration import support_of
from retrieval.analysis import terms

FAR = 3.0
MEAN = (0.62728, 0.6533, 0.61917, 0.31538, 0.43495, 0.39462, 0.00923, 0.05692)
SPREAD = (0.11122, 0.18264, 0.18445, 0.11991, 0.20069, 0.29001, 0.09563, 0.2317)
WEIGHTS = (0.04248, 0.11986, -0.18595, 0.42499, 0.14313, 0.39501, -0.17599, -0.31669)
BIAS = -0.90885


def confidence_before(grounded: Grounded, evidence: Evidence) -> float:
    """What that version would have said of an answer."""
    used = {number for sentence in grounded.sentences for number in sentence.citations}
    cited = [citation for citation in grounded.citations if citation.id in used]
    scores = sorted((passage.score for passage in evidence.passages), reverse=True)
    values = [
        max((_similarity(citation, evidence) for citation in cited), default=0.0),
        _coverage(" ".join([grounded.answer, *(citation.title for citation in cited)]), evidence),
        _coverage(" ".join(citation.quote for citation in cited), evidence),
        min(len({citation.document_id for citation in cited}), 4) / 4,
        np.tanh(len(grounded.answer) / 400),
        np.tanh((scores[1] - scores[2]) / 8) if len(scores) > 2 else 0.0,
        float(bool(grounded.conflicts)),
        float(grounded.status == AnswerStatus.PARTIAL and not grounded.conflicts),
    ]
    standing = np.clip((np.array(values) - MEAN) / SPREAD, -FAR, FAR)
    return round(float(1 / (1 + np.exp(-(standing @ np.array(WEIGHTS) + BIAS)))) * support_of(grounded), 4)


def _similarity(citation: Citation, evidence: Evidence) -> float:
    for passage in evidence.passages:
        if passage.chunk_id == citation.chunk_id:
            start, end = citation.start - passage.start, citation.end - passage.start
            return max((one.score for one in passage.sentences if start <= one.start < end), default=0.0)
    return 0.0


def _coverage(text: str, evidence: Evidence) -> float:
    held, total = frozenset(terms(text)), sum(evidence.rarity.values())
    return sum(weight for term, weight in evidence.rarity.items() if term in held) / total if total else 0.0
