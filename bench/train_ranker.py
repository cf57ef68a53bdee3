"""Train the second stage: `python -m bench.train_ranker` writes `retrieval/ranker.json` with its training record.

Both networks learn from the candidates of questions, each set weighing the same, to put the best passage of each right
document above all wrong ones (a softmax over one right and all wrong candidates). The questions are the even-numbered
ones of every set; the same over copies of the multi-hop sets without titles, and without capitals too; the same over
long lower-case notes made of every set's passages (`bench/long_notes.py`); and plain single-fact questions made from
passages (`bench/plain.py`), and from chunks of those notes. The second network learns from first-stage scores of
networks that did not see the question. The odd-numbered questions are never looked at here; `make bench` reports on
them. The first half of the members never sees long notes; the others learn from everything, and then go on over it more
gently: the mean of both finds more in documents of many chunks, and keeps what the first half finds elsewhere.

`python -m bench.train_ranker keep` keeps the first half of the members that are there, and trains the others. `python
-m bench.train_ranker check` writes nothing: it prints how well networks do on questions of sets, and of folds, that
they were not trained on.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from api.assembly import Workspace
from bench.data import SETS, Item, available, questions
from bench.homes import HOME, open_corpus, open_set
from bench.long_notes import passages_in, write_long_notes
from bench.multihop import external_ids, ndcg, recall
from bench.plain import KINDS, Plain, plain_questions
from bench.untitled import write_records
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates, search_words
from retrieval.features import (
    FIRST,
    QUESTION,
    Candidates,
    Floats,
    Ints,
    Surroundings,
    first_features,
    question_features,
    surroundings,
)
from retrieval.pairs import SECOND
from retrieval.question import Asked
from retrieval.ranker import ANCHORS, BRIEF, SHAPES, STANDING, Known, known_after, spread

TARGET = Path(__file__).resolve().parents[1] / "retrieval" / "ranker.json"
MEMBERS = 6
FOLDS = 4
HIDDEN, PAIR_HIDDEN, MESSAGE = 24, 24, 8
DROP, DECAY, RATE = 0.15, 0.03, 3e-3
FIRST_EPOCHS, SECOND_EPOCHS = 20, 24
FURTHER_EPOCHS, FURTHER_RATE = 6, 1e-3
"""The second run of those members that learn from everything."""
BATCH = 32
LEARNED = 64
"""Candidates of a question, the best by the first network, that the second learns from beside the right ones."""
BLIND = 0.05
"""Share of the questions, each time that they are shown, that lack one of SIGNALS: corpora without it exist too."""
SIGNALS = (
    ("titled", "titled_x_sentence", "title_asked", "asks_title", "named_by_anchor", "names_anchor", "unasked_title"),
    ("walk", "walk_rank", "named_walk", "named_walk_rank", "meant_walk", "meant_walk_rank"),
    ("entity_share", "shared_rarity", "shared_asked", "rarest_shared"),
    ("lexical", "lexical_rank", "lexical_share", "beside_lexical", "bigrams"),
)
MULTIHOP = ("2wiki", "musique")
"""Sets of which altered copies are learned from as well."""
ALTERED: dict[str, Callable[[str], str]] = {"untitled": str, "lower": str.lower}
PLAIN = 240
"""Passages of each set that a plain question is made from."""
NOTES = 240
"""Cases of each kind, of each set, that are learned from over long notes."""
WEIGHT = {"asked": 1.0, "untitled": 0.25, "lower": 0.25, "plain": 0.25, "notes": 0.5, "notes plain": 0.25}
"""What all cases of one kind of one set weigh together."""
WEIGHT_AT_FIRST = WEIGHT | {"notes": 0.25, "notes plain": 0.1}
"""The same in the first run."""
LATER = ("notes", "notes plain")
"""Kinds of cases that the first half of the members does not learn from."""
_BRIEF = [FIRST.index(name) for name in BRIEF]
_PAIR_PARTS = [len(SECOND), len(BRIEF), len(BRIEF), len(STANDING), len(STANDING)]


@dataclass(frozen=True, slots=True)
class Case:
    """A question's candidates with what their features are made from; `documents` of each, and which are right.

    `kind` says how it came about (one of WEIGHT), `number` in which fold it is. In long notes a chunk that is right
    stands for a document of its own. Vectors are kept in half precision: there are many cases.
    """

    set: str
    kind: str
    number: int
    asked: Asked
    candidates: Candidates
    around: Surroundings
    first: Floats
    question: Floats
    documents: NDArray[np.int64]
    right: tuple[int, ...]

    def after(self, score: Floats) -> Known:
        """What the second network sees, after these scores of the first."""
        full = replace(
            self.around,
            vectors=self.around.vectors.astype(np.float32),
            sentences=self.around.sentences.astype(np.float32),
        )
        known = known_after(self.asked, self.candidates, full, self.first, self.question, score)
        return replace(known, pairs=known.pairs.astype(np.float32))


def main(wanted: Sequence[str]) -> None:
    """Train both networks and write them, or check how they carry over."""
    torch.set_num_threads(1)
    cases = [case for name in SETS if available(name) for case in gather(name)]
    if "check" in wanted:
        check(cases)
    else:
        train(cases, json.loads(TARGET.read_text())["members"][: MEMBERS // 2] if "keep" in wanted else ())


def train(cases: Sequence[Case], kept: Sequence[object] = ()) -> None:
    """Train on all that can be learned from and write the weights with their record; the first members may be kept."""
    learned = [case for case in cases if _learnable(case)]
    scores = out_of_fold(learned, [case.number // 2 % FOLDS for case in learned], train_first)
    known = [case.after(score) for case, score in zip(learned, scores, strict=True)]
    members = [*kept]
    for seed in range(len(kept), MEMBERS):
        first = train_first(learned, seed)
        members.append(_exported(first, train_second(learned, known, seed, first)))
    record = {
        "version": 2,
        "features": {"first": list(FIRST), "second": list(SECOND), "question": list(QUESTION), "brief": list(BRIEF)},
        "training": {
            "method": "two networks a member, softmax of each right document against all wrong ones, AdamW; half of "
            f"the members without {' and '.join(LATER)}, the others further over everything",
            "settings": {
                "members": len(members),
                "epochs": [FIRST_EPOCHS, SECOND_EPOCHS, FURTHER_EPOCHS],
                "rates": [RATE, FURTHER_RATE],
                "dropout": DROP,
                "decay": DECAY,
                "blind": BLIND,
                "anchors": ANCHORS,
            },
            "questions": {" ".join(part): size for part, size in Counter((c.set, c.kind) for c in learned).items()},
            "weights": WEIGHT,
            "weights at first": WEIGHT_AT_FIRST,
            "which": "of those with a right passage among their candidates: even-numbered development questions "
            "(asked), the same over copies without titles, and without titles and capitals (untitled, lower), and "
            "over long lower-case notes of several passages each (notes); and single-fact questions made from passages "
            "and from chunks of notes with an even key (plain, notes plain)",
        },
        "members": members,
    }
    TARGET.write_text(json.dumps(record) + "\n")
    print(f"wrote {TARGET.name}: {record['training']}")


def check(cases: Sequence[Case]) -> None:
    """Print the scores of networks on folds, and on sets, that they did not see."""
    learned = [case for case in cases if _learnable(case)]
    folds = [case.number // 2 % FOLDS for case in learned]
    for name, groups in (("other folds", folds), ("other sets", [list(SETS).index(case.set) for case in learned])):
        scores = out_of_fold(learned, groups, train_first)
        known = [case.after(score) for case, score in zip(learned, scores, strict=True)]
        second = out_of_fold(learned, groups, _second_trainer(learned, known), known)
        report(name, cases, learned, second)


def report(name: str, cases: Sequence[Case], learned: Sequence[Case], scores: Sequence[Floats]) -> None:
    """Print means by set and kind; questions without a right candidate count as 0."""
    sizes = Counter((case.set, case.kind) for case in cases)
    rows: dict[tuple[str, str], list[list[float]]] = {}
    for case, score in zip(learned, scores, strict=True):
        order = np.lexsort((case.around.key, -np.round(spread(score, case.documents, case.around.key), 6)))
        found, right = case.documents[order].tolist(), frozenset(case.right)
        row = [*(recall(found, right, k) for k in (1, 2, 5, 10)), ndcg(found, right)]
        rows.setdefault((case.set, case.kind), []).append(row)
    for part, some in rows.items():
        means = zip(("R@1", "R@2", "R@5", "R@10", "nDCG@10"), np.sum(some, axis=0) / sizes[part] * 100, strict=True)
        print(f"{name}: {' '.join(part):18}", " ".join(f"{what} {mean:.1f}" for what, mean in means), flush=True)


def gather(name: str) -> list[Case]:
    """The cases of a set: its even-numbered questions, those of its altered copies, and plain ones."""
    cases = []
    with open_set(name)[0] as workspace:
        reader = Reader(workspace, name)
        cases += [reader.asked("asked", number, one) for number, one in _even(name)]
        cases += reader.plain("plain")
        path = write_long_notes(name, workspace, HOME / "corpora" / f"{name}_notes.jsonl")
    with open_corpus(f"{name.replace('2wiki', 'twowiki')}_notes", path) as workspace:
        notes = NotesReader(workspace, name)
        cases += _drawn([notes.asked("notes", number, one) for number, one in _even(name)])
        cases += _drawn(notes.plain("notes plain"))
    for kind, change in ALTERED.items() if name in MULTIHOP else ():
        path = write_records(name, HOME / "corpora" / f"{name}_{kind}.jsonl", change)
        with open_corpus(f"{name.replace('2wiki', 'twowiki')}_{kind}", path) as workspace:
            reader = Reader(workspace, name)
            cases += [reader.asked(kind, number, one) for number, one in _even(name)]
    return cases


def _drawn(cases: Sequence[Case]) -> list[Case]:
    return sorted(cases, key=lambda case: sha256(case.asked.text))[:NOTES]


def _even(name: str) -> list[tuple[int, Item]]:
    return list(enumerate(questions(name)))[::2]


class Reader:
    """Makes cases of questions to one corpus."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        state = workspace.snapshots.live()
        self.view, self._dense = workspace.library.view(state, LOCAL_OWNER)
        self._row_of = {external: row for row, external in external_ids(workspace, state.snapshot).items()}
        self._name, self._workspace = name, workspace

    def asked(self, kind: str, number: int, one: Item) -> Case:
        """The case of a benchmark question; over text without capitals every other one has none either."""
        text = one.question.lower() if kind in ("lower", "notes") and number % 4 else one.question
        return self.case(kind, number, text, self._right(one))

    def plain(self, kind: str) -> list[Case]:
        """Cases of plain questions; each fold has all kinds of them."""
        made = plain_questions(self._workspace, self.view, 0, PLAIN)
        return [
            self.case(kind, number // len(KINDS) * 2, one.text, self._made_from(one)) for number, one in enumerate(made)
        ]

    def _right(self, one: Item) -> tuple[int, ...]:
        return tuple(self._row_of[external] for external in sorted(one.supporting))

    def _made_from(self, one: Plain) -> tuple[int, ...]:
        return (one.document,)

    def _found_as(self, places: Ints, right: Sequence[int]) -> Ints:
        """What each candidate is found as, in the numbers of `right`."""
        del right
        return self.view.index.document_id[places]

    def case(self, kind: str, number: int, text: str, right: tuple[int, ...]) -> Case:
        """The case of any question, `right` being rows of documents."""
        each = self._workspace.settings.candidates
        wording = search_words(self.view, text, each)
        asked = Asked(text, self._workspace.embedder.embed([text])[0], wording.entities)
        candidates = find_candidates(self.view, self._dense, asked, wording, each)
        around = surroundings(self.view, asked, candidates)
        first = first_features(self.view, asked, candidates, around)
        about = question_features(asked, first)
        half: Any = np.float16
        small = replace(around, vectors=around.vectors.astype(half), sentences=around.sentences.astype(half))
        documents = self._found_as(candidates.places, right)
        return Case(self._name, kind, number, asked, candidates, small, first, about, documents, right)


class NotesReader(Reader):
    """Makes cases of questions to long notes, where chunks are right and not documents.

    What is right is numbered below 0: the passages of the set from -1 down, and past them the chunks by row.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        super().__init__(workspace, name)
        self._held = passages_in(name, workspace)
        passages = sorted(frozenset[str]().union(*self._held.values()))
        self._number = {passage: -1 - number for number, passage in enumerate(passages)}

    def _right(self, one: Item) -> tuple[int, ...]:
        return tuple(self._number.get(passage, 0) for passage in sorted(one.supporting))

    def _made_from(self, one: Plain) -> tuple[int, ...]:
        return (self._number_of(one.chunk),)

    def _number_of(self, chunk: int) -> int:
        return -1 - len(self._number) - chunk

    def _found_as(self, places: Ints, right: Sequence[int]) -> Ints:
        found = self.view.index.document_id[places].copy()
        for row, chunk in enumerate(self.view.index.chunk_id[places].tolist()):
            numbers = {self._number_of(chunk), *(self._number[passage] for passage in self._held[chunk])}
            found[row] = next((number for number in right if number in numbers), found[row])
        return found


def _learnable(case: Case) -> bool:
    return bool(np.isin(case.documents, case.right).any())


Model = Callable[[Case, Known | None], Floats]
Trainer = Callable[[Sequence[Case], int], "nn.Module"]


def out_of_fold(
    cases: Sequence[Case], groups: Sequence[int], train: Trainer, known: Sequence[Known] | None = None
) -> list[Floats]:
    """Scores of each case by a network that was trained on the cases of all other groups."""
    found: dict[int, Floats] = {}
    for group in sorted(set(groups)):
        model = train([case for case, mine in zip(cases, groups, strict=True) if mine != group], MEMBERS - 1).eval()
        for i, mine in enumerate(groups):
            if mine == group:
                with torch.no_grad():
                    given = _padded([Example.of(cases[i], known[i] if known else None)])
                    found[i] = model(given)[0].numpy().astype(np.float64)
    return [found[i] for i in range(len(cases))]


@dataclass(frozen=True, slots=True)
class Given:
    """A batch of questions, padded to the same number of candidates."""

    first: Tensor
    question: Tensor
    valid: Tensor
    wrong: Tensor
    right: Tensor  # [batch, right documents, n]
    weight: Tensor
    standing: Tensor
    anchors: Tensor
    pairs: Tensor

    def rows(self, chosen: Tensor) -> Given:
        """Some of the questions, no wider than they need."""
        width = int(self.valid[chosen].sum(1).max())
        return Given(
            self.first[chosen, :width],
            self.question[chosen],
            self.valid[chosen, :width],
            self.wrong[chosen, :width],
            self.right[chosen, :, :width],
            self.weight[chosen],
            self.standing[chosen, :width],
            self.anchors[chosen],
            self.pairs[chosen, :, :width],
        )


@dataclass(frozen=True, slots=True)
class Example:
    """A case as tensors, made once."""

    first: Tensor
    question: Tensor
    right: Tensor  # [right documents, n]
    known: tuple[Tensor, Tensor, Tensor] | None

    @classmethod
    def of(cls, case: Case, known: Known | None) -> Example:
        """The tensors of one case, with what the second network sees where that is known."""
        more = None
        if known:
            anchors = np.resize(known.anchors, ANCHORS)
            pairs = np.resize(known.pairs, (ANCHORS, *known.pairs.shape[1:]))
            more = (_single(known.standing), torch.tensor(anchors), _single(pairs))
        right = np.stack([case.documents == document for document in case.right])
        return cls(_single(case.first), _single(case.question), torch.tensor(right), more)

    def best(self) -> Example:
        """The same with only the candidates that the second network learns from: the first LEARNED and the right."""
        if not self.known:
            return self
        standing, anchors, pairs = self.known
        kept = torch.nonzero((standing[:, 1] >= 1 / LEARNED) | self.right.any(0)).flatten()
        known = (standing[kept], torch.searchsorted(kept, anchors), pairs[:, kept])
        return Example(self.first[kept], self.question, self.right[:, kept], known)


def _single(values: NDArray[np.floating[Any]]) -> Tensor:
    return torch.tensor(np.asarray(values, np.float32))


def _padded(some: Sequence[Example], weights: Floats | None = None) -> Given:
    width, most = (max(one.right.shape[axis] for one in some) for axis in (1, 0))
    count, with_pairs = len(some), ANCHORS if some[0].known else 0
    given = Given(
        first=torch.zeros(count, width, len(FIRST)),
        question=torch.stack([one.question for one in some]),
        valid=torch.zeros(count, width, dtype=torch.bool),
        wrong=torch.zeros(count, width, dtype=torch.bool),
        right=torch.zeros(count, most, width, dtype=torch.bool),
        weight=_single(weights if weights is not None else np.ones(count)),
        standing=torch.zeros(count, width, len(STANDING)),
        anchors=torch.zeros(count, with_pairs, dtype=torch.int64),
        pairs=torch.zeros(count, with_pairs, width, len(SECOND)),
    )
    for row, one in enumerate(some):
        documents, n = one.right.shape
        given.first[row, :n] = one.first
        given.valid[row, :n] = True
        given.wrong[row, :n] = ~one.right.any(0)
        given.right[row, :documents, :n] = one.right
        if one.known:
            given.standing[row, :n], given.anchors[row], given.pairs[row, :, :n] = one.known
    return given


class FirstNet(nn.Module):
    """How a passage fits the question."""

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.linear = nn.Linear(len(FIRST), 1, bias=False)
        self.enter = nn.Linear(len(FIRST) + len(QUESTION), HIDDEN)
        self.mid = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1, bias=False)
        self.drop = nn.Dropout(DROP)

    def forward(self, given: Given) -> Tensor:
        """`[batch, n]`."""
        known = (given.first - self.mean) / self.deviation
        about = given.question[:, None, :].expand(-1, known.shape[1], -1)
        inner = self.drop(torch.relu(self.enter(torch.cat([known, about], dim=-1))))
        inner = self.drop(torch.relu(self.mid(inner)))
        score: Tensor = (self.linear(known) + self.out(inner)).squeeze(-1)
        return score


class SecondNet(nn.Module):
    """How a passage fits the question and the anchors; see retrieval/ranker.py for what it computes."""

    def __init__(self, mean: Tensor, deviation: Tensor, pair_mean: Tensor, pair_deviation: Tensor) -> None:
        super().__init__()
        self.mean, self.deviation, self.pair_mean, self.pair_deviation = mean, deviation, pair_mean, pair_deviation
        own = len(FIRST) + len(STANDING)
        self.pair_in = nn.Linear(len(SECOND) + 2 * (len(BRIEF) + len(STANDING)), PAIR_HIDDEN)
        self.pair_out = nn.Linear(PAIR_HIDDEN, MESSAGE)
        self.linear = nn.Linear(own, 1, bias=False)
        self.enter = nn.Linear(own + len(QUESTION) + 3 * MESSAGE, HIDDEN)
        self.mid = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1, bias=False)
        self.drop = nn.Dropout(DROP)

    def forward(self, given: Given) -> Tensor:
        """`[batch, n]`."""
        known = (given.first - self.mean) / self.deviation
        own = torch.cat([known, given.standing], dim=-1)
        heard = self._heard(known[..., _BRIEF], given)
        about = given.question[:, None, :].expand(-1, known.shape[1], -1)
        inner = self.drop(torch.relu(self.enter(self.drop(torch.cat([own, about, heard], dim=-1)))))
        inner = self.drop(torch.relu(self.mid(inner)))
        score: Tensor = (self.linear(own) + self.out(inner)).squeeze(-1)
        return score

    def _heard(self, brief: Tensor, given: Given) -> Tensor:
        anchors, standing = given.anchors, given.standing
        count, pick = brief.shape[1], anchors[..., None]
        of_pair, of_anchor, of_other, of_anchors_standing, of_others_standing = self.pair_in.weight.T.split(_PAIR_PARTS)
        mine = brief @ of_anchor + standing @ of_anchors_standing
        inner = ((given.pairs - self.pair_mean) / self.pair_deviation) @ of_pair + self.pair_in.bias
        inner = inner + torch.gather(mine, 1, pick.expand(-1, -1, mine.shape[-1]))[:, :, None, :]
        inner = inner + (brief @ of_other + standing @ of_others_standing)[:, None, :, :]
        said = self.pair_out(torch.relu(inner))
        others = (torch.arange(count)[None, None, :] != pick) & given.valid[:, None, :]
        strongest = torch.where(others[..., None], said, -5.0).amax(1)
        place = torch.gather(standing[..., 0], 1, anchors)
        mean = (said * (others * (4 * place).softmax(-1)[..., None])[..., None]).sum(1)
        follows = torch.where(others[..., None], said + standing[:, None, :, :1], -5.0).amax(2)
        back = torch.zeros_like(strongest).scatter(1, pick.expand(-1, -1, said.shape[-1]), follows)
        return torch.cat([strongest, mean, back], dim=-1)


def loss_of(score: Tensor, given: Given) -> Tensor:
    """Cross-entropy of the best passage of each right document against all wrong candidates."""
    wrong = torch.where(given.wrong, score, -1e9).logsumexp(-1)
    right = torch.where(given.right, score[:, None, :], -1e9).amax(-1)
    there = given.right.any(-1)
    each = (nn.functional.softplus(wrong[:, None] - right) * there).sum(1) / there.sum(1).clamp(min=1)
    return (each * given.weight).sum() / given.weight.sum()


def train_first(cases: Sequence[Case], seed: int) -> FirstNet:
    """A first network, trained on those of these cases that this member learns from."""
    torch.manual_seed(seed)
    mine = [cases[i] for i in _learned_by(seed, cases)]
    net = FirstNet(*_moments(np.concatenate([case.first for case in mine])))
    _train(net, mine, None, FIRST_EPOCHS)
    if _learns_all(seed):
        _train(net, mine, None, FURTHER_EPOCHS, further=True)
    return net


def train_second(cases: Sequence[Case], known: Sequence[Known], seed: int, first: FirstNet | None = None) -> SecondNet:
    """A second network, trained on these cases after first-stage scores of networks that had not seen them."""
    torch.manual_seed(seed)
    places = _learned_by(seed, cases)
    mine, known = [cases[i] for i in places], [known[i] for i in places]
    pairs = _moments(np.concatenate([one.pairs[:4].reshape(-1, len(SECOND)) for one in known]))
    own = (first.mean, first.deviation) if first else _moments(np.concatenate([case.first for case in mine]))
    net = SecondNet(*own, *pairs)
    _train(net, mine, known, SECOND_EPOCHS)
    if _learns_all(seed):
        _train(net, mine, known, FURTHER_EPOCHS, further=True)
    return net


def _learns_all(seed: int) -> bool:
    return seed >= MEMBERS // 2


def _learned_by(seed: int, cases: Sequence[Case]) -> list[int]:
    """Places of the cases that this member learns from."""
    return [i for i, case in enumerate(cases) if _learns_all(seed) or case.kind not in LATER]


def _second_trainer(cases: Sequence[Case], known: Sequence[Known]) -> Trainer:
    place = {id(case): i for i, case in enumerate(cases)}
    return lambda some, seed: train_second(some, [known[place[id(case)]] for case in some], seed)


def _moments(values: Floats) -> tuple[Tensor, Tensor]:
    return torch.tensor(values.mean(0), dtype=torch.float32), torch.tensor(values.std(0) + 1e-6, dtype=torch.float32)


def _train(
    net: nn.Module, cases: Sequence[Case], known: Sequence[Known] | None, epochs: int, further: bool = False
) -> None:
    rate, weights = (FURTHER_RATE, _weights(cases, WEIGHT)) if further else (RATE, _weights(cases, WEIGHT_AT_FIRST))
    every = _padded([Example.of(case, known[i] if known else None).best() for i, case in enumerate(cases)], weights)
    steps = epochs * -(-len(cases) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    net.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(cases)).split(BATCH):
            given = every.rows(chosen)
            _blind(given)
            loss = loss_of(torch.where(given.valid, net(given), -1e9), given)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()


def _weights(cases: Sequence[Case], weight: Mapping[str, float]) -> Floats:
    """What each case weighs: every part of every set the weight of its kind, 1 on average."""
    sizes = Counter((case.set, case.kind) for case in cases)
    weights = np.array([weight[case.kind] / sizes[case.set, case.kind] for case in cases])
    return weights / weights.mean()


def _blind(given: Given) -> None:
    for row in torch.nonzero(torch.rand(len(given.first)) < BLIND).flatten().tolist():
        signal = SIGNALS[int(torch.randint(len(SIGNALS), ()))]
        given.first[row][:, [FIRST.index(name) for name in signal if name in FIRST]] = 0.0
        if given.pairs.shape[1]:
            given.pairs[row][..., [SECOND.index(name) for name in signal if name in SECOND]] = 0.0


def _exported(first: FirstNet, second: SecondNet) -> dict[str, object]:
    own = len(FIRST) + len(STANDING) + len(QUESTION)
    enter = second.enter.weight.T
    tensors = {
        "mean": first.mean,
        "spread": first.deviation,
        "first_linear": first.linear.weight[0],
        "first_in": first.enter.weight.T,
        "first_in_bias": first.enter.bias,
        "first_mid": first.mid.weight.T,
        "first_mid_bias": first.mid.bias,
        "first_out": first.out.weight[0],
        "pair_mean": second.pair_mean,
        "pair_spread": second.pair_deviation,
        "pair_in": second.pair_in.weight.T,
        "pair_in_bias": second.pair_in.bias,
        "pair_out": second.pair_out.weight.T,
        "pair_out_bias": second.pair_out.bias,
        "linear": second.linear.weight[0],
        "in": enter[:own],
        "in_messages": enter[own:].reshape(3, MESSAGE, HIDDEN),
        "in_bias": second.enter.bias,
        "mid": second.mid.weight.T,
        "mid_bias": second.mid.bias,
        "out": second.out.weight[0],
    }
    assert set(tensors) == set(SHAPES)
    return {name: _rounded(tensor.detach().numpy().tolist()) for name, tensor in tensors.items()}


def _rounded(values: object) -> object:
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    assert isinstance(values, float)
    return float(f"{values:.6g}")


if __name__ == "__main__":
    main(sys.argv[1:])
