"""The second stage: what the next hop may bring in, and that the networks' weights mean what they say."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from handbook import far_apart, handbook

from api.assembly import Workspace
from kernel.errors import IntegrityFailure
from kernel.records import LOCAL_OWNER
from retrieval import hops, ranker
from retrieval.candidates import find_candidates, search_words
from retrieval.dense import Cosines
from retrieval.features import FIRST, QUESTION, Floats
from retrieval.hops import next_passages, place_within
from retrieval.index import word_hash
from retrieval.networks import Parts
from retrieval.pairs import SECOND, _around_name
from retrieval.paths import entities_of
from retrieval.question import Asked
from retrieval.ranker import BRIEF, STANDING, Known, ranker_from, shipped_ranker, spread

QUESTION_TEXT = "Under what licence may one copy the library that Webkit Lite employs for routing?"
SHIPPED = json.loads((Path(ranker.__file__).parent / "ranker.json").read_text())


@pytest.fixture(scope="module")
def site(models: Path) -> Iterator[Workspace]:
    with handbook(models, far_apart()) as made:
        yield made


def random_known(seed: int, count: int = 7, anchors: int = 3) -> Known:
    source = np.random.default_rng(seed)
    standing = np.stack([-source.random(count), 1 / (1 + np.arange(count))], axis=1)
    pairs = source.random((anchors, count, len(SECOND)))
    return Known(
        source.random((count, len(FIRST))), source.random(len(QUESTION)), standing, np.arange(anchors) * 2, pairs
    )


def test_the_next_hop_brings_only_passages_that_share_a_name_with_an_anchor(site: Workspace) -> None:
    """Each is new, shares with an anchor an entity that the question does not name, and no entity brings many."""
    view, dense = site.library.view(site.snapshots.live(), LOCAL_OWNER)
    wording = search_words(view, QUESTION_TEXT, 5)
    asked = Asked(QUESTION_TEXT, site.embedder.embed([QUESTION_TEXT])[0], wording.entities)
    named = set(asked.entities.nodes.tolist())
    reached = 0
    for anchor in wording.worded.tolist():
        have = np.array([anchor])
        found = next_passages(view, Cosines(dense, view, asked.vector), asked, wording.lexical, have, have).tolist()
        mine = entities_of(view, anchor) - named
        assert len(found) <= hops.FOUND
        assert anchor not in found
        assert all(mine & entities_of(view, place) for place in found)
        assert len(found) <= hops.EACH * len(mine)
        reached += len(found)
    assert reached


def test_what_is_said_beside_a_name_counts_for_it() -> None:
    """ "Directed by" stands beside the director: more for the near name than for the far one, nothing for another."""
    text = "a film directed by ann bee with many others and cal dee"
    stream = np.array([word_hash(word) for word in text.split()], np.uint32)
    weight = np.array([1.0 if word == 2 else 0.0 for word in range(len(stream))])

    def near(name: str) -> float:
        return _around_name(stream, weight, tuple(word_hash(word) for word in name.split()))

    assert near("ann bee") > 0.5 > near("cal dee") >= near("ann dee") == 0
    assert near("") == 0


def test_rows_are_counted_within_their_group() -> None:
    assert place_within(np.array([5, 5, 5, 2, 9, 9])).tolist() == [0, 1, 2, 0, 0, 1]
    assert place_within(np.zeros(0, np.int64)).tolist() == []


def plain_first(member: Parts, first: Floats, question: Floats) -> Floats:
    """`[n]`: the first network's score of each candidate."""
    known = (first - member["mean"]) / member["spread"]
    return known @ member["first_linear"] + _hidden(
        member, "first_", known @ member["first_in"][: len(FIRST)] + question @ member["first_in"][len(FIRST) :]
    )


def plain_messages(member: Parts, known: Known) -> Floats:
    """`[anchors, n, m]`: what each anchor has to say for each candidate."""
    brief = ((known.first - member["mean"]) / member["spread"])[:, [FIRST.index(name) for name in BRIEF]]
    cuts = np.cumsum([len(SECOND), len(BRIEF), len(BRIEF), len(STANDING)])
    pair, anchor, other, anchor_standing, other_standing = np.split(member["pair_in"], cuts)
    whole = ((known.pairs - member["pair_mean"]) / member["pair_spread"]) @ pair
    whole += (brief @ other + known.standing @ other_standing + member["pair_in_bias"])[None, :, :]
    whole += (brief[known.anchors] @ anchor + known.standing[known.anchors] @ anchor_standing)[:, None, :]
    said: Floats = np.maximum(whole, 0.0) @ member["pair_out"] + member["pair_out_bias"]
    return said


def plain_second(member: Parts, messages: Floats, known: Known) -> Floats:
    """`[n]`: the second network's score of each candidate."""
    own = np.concatenate([(known.first - member["mean"]) / member["spread"], known.standing], axis=1)
    heard = _heard(messages, known)
    whole = own @ member["in"][: own.shape[1]] + known.question @ member["in"][own.shape[1] :]
    whole += np.einsum("knm,kmh->nh", heard, member["in_messages"])
    return own @ member["linear"] + _hidden(member, "", whole)


def _heard(messages: Floats, known: Known) -> Floats:
    """`[3, n, m]`: the strongest message to each candidate, their mean by the anchors' standing, and what an anchor's
    own messages amount to with those who follow it."""
    others = np.arange(messages.shape[1])[None, :] != known.anchors[:, None]
    strongest = np.where(others[:, :, None], messages, -5.0).max(axis=0)
    share = np.exp(4 * (known.standing[known.anchors, 0] - known.standing[known.anchors, 0].max()))
    mean = np.einsum("anm,an->nm", messages, others * (share / share.sum())[:, None])
    follows = np.where(others[:, :, None], messages + known.standing[None, :, :1], -5.0).max(axis=1)
    back = np.zeros(strongest.shape)
    back[known.anchors] = follows
    return np.stack([strongest, mean, back])


def _hidden(member: Parts, prefix: str, whole: Floats) -> Floats:
    """Two layers of rectified units over the sums `whole` that enter the first."""
    inner = np.maximum(whole + member[f"{prefix}in_bias"], 0.0)
    inner = np.maximum(inner @ member[f"{prefix}mid"] + member[f"{prefix}mid_bias"], 0.0)
    out: Floats = inner @ member[f"{prefix}out"]
    return out


@pytest.mark.parametrize("seed", range(5))
def test_the_networks_compute_what_each_member_says_of_itself(seed: int) -> None:
    """All members at once, with scaling folded in, against one after the other as written down."""
    known, made = random_known(seed, 30 + seed, 8), shipped_ranker()
    first = np.mean([plain_first(member, known.first, known.question) for member in made.members], axis=0)
    np.testing.assert_allclose(made.networks.first(known.first, known.question), first, atol=1e-9)
    second = np.mean([plain_second(member, plain_messages(member, known), known) for member in made.members], axis=0)
    np.testing.assert_allclose(made.score(known), second, atol=1e-9)


def test_the_order_of_candidates_and_anchors_changes_no_score() -> None:
    """A passage is judged by what it is among, not by where it stands in an array."""
    known = random_known(1)
    scores = shipped_ranker().score(known)
    order = np.random.default_rng(2).permutation(len(scores))
    place = np.argsort(order)
    turned = Known(
        known.first[order],
        known.question,
        known.standing[order],
        place[known.anchors][::-1],
        known.pairs[::-1][:, order],
    )
    assert shipped_ranker().score(turned) == pytest.approx(scores[order], abs=1e-9)


def test_a_contribution_is_what_the_score_loses_without_the_feature() -> None:
    known = random_known(3)
    made = shipped_ranker()
    parts = made.contributions(known, 4)
    assert set(parts) == {*FIRST, *SECOND}
    assert all(math.isfinite(value) for value in parts.values())
    column = FIRST.index("sentence")
    known.first[4, column] = np.mean([member["mean"][column] for member in made.members])
    assert made.contributions(known, 4)["sentence"] == 0


def test_a_second_passage_of_a_document_steps_back() -> None:
    """The better one keeps its score; equal ones go by their key."""
    score, document = np.array([3.0, 2.9, 2.8, 2.9]), np.array([1, 1, 2, 1])
    held = spread(score, document, np.array([0, 7, 1, 5], np.uint64))
    assert held[0] == 3.0
    assert held[2] == 2.8
    assert held[1] < held[3] < 2.9


@pytest.mark.parametrize("spoil", ["feature", "size", "array", "none"])
def test_weights_for_other_features_are_refused(spoil: str) -> None:
    data = copy.deepcopy(SHIPPED)
    if spoil == "feature":
        data["features"]["first"][0] = "density"
    elif spoil == "size":
        data["members"][0]["out"].append(0.5)
    elif spoil == "array":
        del data["members"][-1]["pair_out"]
    else:
        data["members"] = []
    with pytest.raises(IntegrityFailure):
        ranker_from(data)


def test_every_candidate_is_ranked_once(site: Workspace) -> None:
    view, dense = site.library.view(site.snapshots.live(), LOCAL_OWNER)
    wording = search_words(view, QUESTION_TEXT, 5)
    asked = Asked(QUESTION_TEXT, site.embedder.embed([QUESTION_TEXT])[0], wording.entities)
    candidates = find_candidates(view, dense, asked, wording, 5)
    ranking = shipped_ranker().rank(view, asked, candidates)
    assert sorted(ranking.places.tolist()) == candidates.places.tolist()
    assert ranking.scores.tolist() == sorted(ranking.scores.tolist(), reverse=True)
    assert ranking.features.shape == (len(candidates.places), len(FIRST) + len(SECOND))
