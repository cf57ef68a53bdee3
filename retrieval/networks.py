"""The networks of the second stage as a few matrix products: all members at once, their scaling folded into weights.

What they compute is told in `ranker.py`; a member is a set of named arrays whose shapes stand in `ranker.SHAPES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.features import FIRST
from retrieval.pairs import SECOND

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = Mapping[str, Floats]

SILENT = -5.0
"""What a passage hears where there is no anchor but itself."""


class Networks:
    """Members side by side. `brief` are the columns of the first features that pairs are judged with."""

    def __init__(self, members: Sequence[Parts], brief: Sequence[int]) -> None:
        self._brief = list(brief)
        self._count = len(members)
        self._first = _Judge(members, "first_", len(FIRST))
        self._second = _Judge(members, "", len(FIRST))
        cuts = np.cumsum([len(SECOND), len(brief), len(brief)])
        pair, anchor, other, standing, biases = [], [], [], [], []
        for member in members:
            own, left, right, stand = np.split(member["pair_in"], cuts)
            mean, spread = member["mean"][self._brief], member["spread"][self._brief]
            pair.append(own / member["pair_spread"][:, None])
            anchor.append(left / spread[:, None])
            other.append(right / spread[:, None])
            standing.append(stand)
            biases.append(member["pair_in_bias"] - (member["pair_mean"] / member["pair_spread"]) @ own)
            biases[-1] = biases[-1] - (mean / spread) @ (left + right)
        self._pair, self._anchor, self._other = (np.hstack(parts) for parts in (pair, anchor, other))
        self._anchor_standing, self._other_standing = np.split(np.hstack(standing), 2)
        self._pair_bias = np.concatenate(biases)
        self._pair_out = _blocks([member["pair_out"] for member in members])
        self._pair_out_bias = np.concatenate([member["pair_out_bias"] for member in members])
        kinds = range(len(members[0]["in_messages"]))
        self._messages = np.vstack([_blocks([member["in_messages"][kind] for member in members]) for kind in kinds])

    def first(self, first: Floats, question: Floats) -> Floats:
        """`[n]`: the first networks' mean score of each candidate, from `[n, FIRST]` and `[QUESTION]`."""
        return self._first.score(first, question)

    def second(self, first: Floats, question: Floats, standing: Floats, anchors: Ints, pairs: Floats) -> Floats:
        """`[n]`: the second networks' mean score of each candidate; the arguments are the fields of `ranker.Known`."""
        heard = self._heard(self._said(first[:, self._brief], standing, anchors, pairs), standing, anchors)
        return self._second.score(first, question, standing, heard @ self._messages)

    def _said(self, brief: Floats, standing: Floats, anchors: Ints, pairs: Floats) -> Floats:
        """`[anchors, n, messages]`: what each anchor has to say for each candidate."""
        whole = pairs.reshape(-1, pairs.shape[2]) @ self._pair
        whole = whole.reshape(len(anchors), len(brief), -1)
        whole += brief @ self._other + standing @ self._other_standing + self._pair_bias
        whole += (brief[anchors] @ self._anchor + standing[anchors] @ self._anchor_standing)[:, None, :]
        np.maximum(whole, 0.0, out=whole)
        said: Floats = whole.reshape(-1, whole.shape[2]) @ self._pair_out + self._pair_out_bias
        return said.reshape(len(anchors), len(brief), -1)

    @staticmethod
    def _heard(said: Floats, standing: Floats, anchors: Ints) -> Floats:
        """`[n, 3 messages]`: the strongest message to each candidate, their mean by the anchors' standing, and what an
        anchor's own messages amount to with those who follow it. Nobody hears itself."""
        rows = np.arange(len(anchors))
        itself = said[rows, anchors]
        share = np.exp(4 * (standing[anchors, 0] - standing[anchors, 0].max()))
        share /= share.sum()
        mean = (share @ said.reshape(len(anchors), -1)).reshape(said.shape[1:])
        mean[anchors] -= itself * share[:, None]
        said[rows, anchors] = SILENT
        strongest = said.max(axis=0)
        said += standing[None, :, :1]
        said[rows, anchors] = SILENT
        back = np.zeros(strongest.shape)
        back[anchors] = said.max(axis=1)
        return np.concatenate([strongest, mean, back], axis=1)


class _Judge:
    """Networks of two hidden layers beside a linear model, over a passage's features, the question's, and more."""

    def __init__(self, members: Sequence[Parts], prefix: str, first: int) -> None:
        inner, linear = [member[f"{prefix}in"] for member in members], [member[f"{prefix}linear"] for member in members]
        more = len(linear[0]) - first
        scales = [1 / member["spread"] for member in members]
        shifts = [member["mean"] * scale for member, scale in zip(members, scales, strict=True)]
        self._in = np.hstack([w[:first] * scale[:, None] for w, scale in zip(inner, scales, strict=True)])
        self._in_more = np.hstack([w[first : first + more] for w in inner])
        self._in_question = np.hstack([w[first + more :] for w in inner])
        biases = [member[f"{prefix}in_bias"] for member in members]
        self._in_bias = np.concatenate([b - s @ w[:first] for b, s, w in zip(biases, shifts, inner, strict=True)])
        self._linear = np.mean([w[:first] * scale for w, scale in zip(linear, scales, strict=True)], axis=0)
        self._linear_more = np.mean([w[first:] for w in linear], axis=0)
        self._linear_bias = -float(np.mean([s @ w[:first] for s, w in zip(shifts, linear, strict=True)]))
        self._mid = _blocks([member[f"{prefix}mid"] for member in members])
        self._mid_bias = np.concatenate([member[f"{prefix}mid_bias"] for member in members])
        self._out = np.concatenate([member[f"{prefix}out"] for member in members]) / len(members)

    def score(self, first: Floats, question: Floats, more: Floats | None = None, heard: Floats | float = 0.0) -> Floats:
        inner = first @ self._in + (question @ self._in_question + self._in_bias) + heard
        linear = first @ self._linear + self._linear_bias
        if more is not None:
            inner += more @ self._in_more
            linear += more @ self._linear_more
        np.maximum(inner, 0.0, out=inner)
        inner = inner @ self._mid + self._mid_bias
        np.maximum(inner, 0.0, out=inner)
        scores: Floats = linear + inner @ self._out
        return scores


def _blocks(matrices: Sequence[Floats]) -> Floats:
    """The matrices along the diagonal of one."""
    rows, columns = matrices[0].shape
    whole = np.zeros((rows * len(matrices), columns * len(matrices)))
    for number, matrix in enumerate(matrices):
        whole[number * rows : (number + 1) * rows, number * columns : (number + 1) * columns] = matrix
    return whole
