"""The benchmark beside peers: the driver with a system of its own, the tables and the charts."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handbook import far_apart, handbook
from hypothesis import given
from hypothesis import strategies as st

from api.assembly import Workspace
from bench import charts, page
from bench.ablations import Bench, reciprocal_rank_fusion, without_graph
from bench.answers import discrimination
from bench.asked import made_of
from bench.peers import driver, searching
from bench.peers.driver import FLOOR, OURS, PEERS, Failed, Name, Process
from bench.peers.venvs import PEERS as FOLDER
from bench.peers.venvs import model_folder, ready
from bench.plain import KINDS, plain_questions
from bench.plain import run as plain_run
from kernel.records import LOCAL_OWNER, Question
from retrieval.ranker import shipped_ranker

WORDS = ("anchor", "beacon", "cable", "dune", "ember", "fjord", "grove", "heron", "inlet", "jetty")
TOY = '''
"""A system that finds passages by the letters they share with a question."""
import sys
from collections import Counter
import numpy as np
from bench.peers.protocol import serve

def letters(text):
    counts = Counter(text.lower())
    row = np.array([counts[chr(97 + i)] for i in range(26)], float)
    return row / max(np.linalg.norm(row), 1e-9)

class Toy:
    def __init__(self, system, model):
        print("a library that talks", system, model)
        if system == "broken":
            raise RuntimeError("no such way to search")
    def encode(self, texts):
        return np.stack([letters(text) for text in texts])
    def index(self, corpus):
        self.ids = corpus.ids
        self.rows = self.encode(corpus.texts) if corpus.vectors is None else corpus.vectors
    def ask(self, question, k):
        if question == "die":
            sys.exit(3)
        return [self.ids[place] for place in np.argsort(-(self.rows @ letters(question)))[:k]]
    def save(self, folder):
        (folder / "rows.npy").write_bytes(b"0" * 2**20)
        return True

serve(Toy)
'''


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [{"id": f"id-{word}", "title": word, "text": "the"} for word in WORDS]
    target = tmp_path / "toy.jsonl"
    target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return target


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that runs the toy system; its log goes to the test's own folder."""
    monkeypatch.setattr(driver, "HOMES", tmp_path / "peers")
    script = tmp_path / "toy.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(driver.ROOT)!r})\n{TOY}")
    return [sys.executable, str(script)]


def test_a_system_answers_the_messages(toy: list[str], corpus: Path, tmp_path: Path) -> None:
    with Process(Name("toy", "letters", "Toy"), tmp_path, toy) as system:
        done = system.send({"do": "index", "corpus": str(corpus), "vectors": None})
        answer = system.send({"do": "ask", "questions": ["heron", "dune"], "k": 3})
        system.send({"do": "encode", "texts": ["ab"], "to": str(tmp_path / "own.npy")})
        saved = system.send({"do": "save", "folder": str(tmp_path / "saved")})
        np.save(tmp_path / "given.npy", np.eye(len(WORDS), 26, dtype=np.float32))
        system.send({"do": "index", "corpus": str(corpus), "vectors": str(tmp_path / "given.npy")})
        given = system.send({"do": "ask", "questions": ["bbbb"], "k": 1})
    assert done["passages"] == len(WORDS)
    assert done["seconds"] > 0
    assert [found[0] for found in answer["found"]] == ["id-heron", "id-dune"]
    assert [len(found) for found in answer["found"]] == [3, 3]
    assert len(answer["ms"]) == 2
    assert answer["rss_mb"] > 1
    assert np.load(tmp_path / "own.npy").shape == (1, 26)
    assert saved["mb"] == 1.0
    assert given["found"] == [["id-beacon"]]
    assert "a library that talks" in system.log.read_text()


def test_a_system_that_fails_is_named(toy: list[str], corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="toy-broken: RuntimeError: no such way to search"):
        Process(Name("toy", "broken", "Toy"), tmp_path, toy)
    with Process(Name("toy", "letters", "Toy"), tmp_path, toy) as system:
        with pytest.raises(Failed, match="KeyError"):
            system.send({"do": "dance"})
        system.send({"do": "index", "corpus": str(corpus), "vectors": None})
        with pytest.raises(Failed, match=r"its process ended, see .*toy-letters\.log"):
            system.send({"do": "ask", "questions": ["die"], "k": 3})


def test_systems_are_timed_in_turn_and_scored_on_all_questions(toy: list[str], corpus: Path, tmp_path: Path) -> None:
    """Recall counts every question, latency the timed ones alone; ours is measured again in every round."""
    asked = [searching.Item(word, word, frozenset({f"id-{word}", "nowhere"})) for word in WORDS]
    message = {"corpus": str(corpus), "vectors": None}
    with (
        Process(Name("ours", "search", "Ours"), tmp_path, toy) as ours,
        Process(Name("toy", "peer", "Toy"), tmp_path, toy) as peer,
    ):
        peer.send({"do": "index", **message})
        own, theirs = {OURS.key: searching.Timed()}, searching.Timed()
        timing = searching.Timing(asked=None, timed=4, full_index=False)
        ground = searching.Ground(timing, asked, range(9), [1, 2, 5, 8], message, {OURS.key: (ours, message)}, own)
        for _ in range(2):
            ground.alternate({"toy-peer": peer}, {"toy-peer": theirs})
        row = ground.finished(ours, own[OURS.key])
    assert (len(own[OURS.key].ms), len(theirs.ms), row["timed"]) == (8, 8, 8)
    assert row["recall2"] == row["held_recall5"] == 0.5
    assert row["questions"] == 9
    assert 0 < row["p50"] <= row["p95"] <= row["p99"]
    assert row["mb"] == 1.0


def row(recall: float, p50: float, **more: Any) -> dict[str, Any]:
    recalls = {
        f"{half}{name}": recall for half in ("", "held_") for name in ("recall2", "recall5", "recall10", "ndcg10")
    }
    return (
        recalls
        | {"p50": p50, "p95": p50, "p99": 2 * p50, "questions": 475, "timed": 9, "rss_mb": 100.4, "mb": None}
        | more
    )


@pytest.fixture
def results() -> dict[str, Any]:
    found = {OURS.key: row(0.97, 8.0, mb=12.0), FLOOR.key: row(0.6, 5.0)}
    found |= {
        peer.key: row(0.61 + n / 500, 10.0 + 9 * n, **{f"{FLOOR.key}_p50_beside": 4.0}) for n, peer in enumerate(PEERS)
    }
    ablation = {"name": "graph off", "recall2": 0.5, "recall5": 0.6, "recall10": 0.7, "ndcg10": 0.65}
    kept = {
        "sets": {"2wiki": found, "scifact": found},
        "index": {OURS.key: {"passages_per_second": 68.66, "least_cosine": 1.0}},
        "ablations": {"2wiki": [ablation | {"held_recall2": 0.51, "held_recall5": 0.61}]},
        "left_out": {"txtai-graph": "could not be installed: no network"},
        "settings": {"block": 20, "index_sample": 1000},
    }
    return {
        "retrieval": kept,
        "untitled": {"2wiki, lower": {"dense": 0.5, "whole": 0.9}},
        "2wiki": [{"name": "all questions", "recall5": 0.9}],
    }


def test_the_page_has_every_system_beside_ours(results: dict[str, Any]) -> None:
    lines = page.page(results).splitlines()
    assert "| **Vouch** | 97.0 | 97.0 | 97.0 | 0.970 | 97.0 | 97.0 | 8.0 | 8.0 | 16.0 | 1.6 | 100 | 12 |" in lines
    assert (
        "| LangChain, FAISS | 61.0 | 61.0 | 61.0 | 0.610 | 61.0 | 61.0 | 10.0 | 10.0 | 20.0 | 2.5 | 100 |  |" in lines
    )
    assert "| graph off | 50.0 | 60.0 | 70.0 | 0.650 | 51.0 | 61.0 |" in lines
    assert "| **Vouch** | 68.7 | 1.000000 |" in lines
    assert "- Left out: txtai-graph, could not be installed: no network." in lines
    assert "475 questions." in lines
    assert "| 2wiki, lower | 0.5 | 0.9 |" in lines
    assert lines.index("## Titles removed, capitals removed") > lines.index("## SciFact, 5,183 abstracts")
    assert not any("all questions" in line for line in lines), "ours alone is not repeated beside the same figures"
    alone = page.page({"2wiki": results["2wiki"]})
    assert "| all questions | 0.9 |" in alone
    assert "side by side" not in alone


def test_charts_name_every_system_and_no_labels_meet(results: dict[str, Any]) -> None:
    drawn = page.drawings(results["retrieval"])
    assert set(drawn) == {"recall.svg", "latency.svg"}
    for drawing in drawn.values():
        root = ET.fromstring(drawing)  # noqa: S314 - our own drawing
        texts = [element for element in root if element.tag.endswith("}text")]
        words = " ".join(element.text or "" for element in texts)
        assert root.get("role") == "img"
        assert all((root.find(f"{{*}}{name}").text or "").strip() for name in ("title", "desc"))  # type: ignore[union-attr]
        assert all(system.title.replace("*", "") in words for system in page.SYSTEMS)
        assert "prefers-color-scheme: dark" in drawing
        boxes = [box_of(element) for element in texts]
        meeting = [
            (a, b)
            for n, a in enumerate(boxes)
            for b in boxes[:n]
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        ]
        assert meeting == []
        assert all(box[0] >= 0 and box[2] <= float(root.get("width", 0)) for box in boxes)


def box_of(element: ET.Element) -> tuple[float, float, float, float, str]:
    size, x, y = (float(element.get(name, 0)) for name in ("font-size", "x", "y"))
    wide = charts.text_width(element.text or "", size)
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[element.get("text-anchor", "start")]
    return left, y - size, left + wide, y, element.text or ""


def test_reciprocal_rank_fusion_prefers_what_several_signals_found() -> None:
    orders = {"one": np.array([7, 3]), "two": np.array([3, 9])}
    assert reciprocal_rank_fusion(orders, np.arange(10, dtype=np.uint64)).tolist() == [3, 7, 9]


def test_ablations_rank_without_the_graph(workspace: Workspace, corpus: Path) -> None:
    """The second document is named by the first alone: only the graph leads from the question to it."""
    rows = [
        {"id": "film", "title": "The Quiet Shore", "text": "The Quiet Shore is a film by Ilse Marendt."},
        {"id": "maker", "title": "Ilse Marendt", "text": "Ilse Marendt was born in Trondheim."},
    ]
    with corpus.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with workspace.parser_pool() as pool:
        workspace.indexer.ingest(pool, [corpus])
    state = workspace.snapshots.live()
    view, dense = workspace.library.view(state, LOCAL_OWNER)
    names = workspace.catalog.external_ids(state.snapshot)
    bench = Bench(view, without_graph(view), dense, shipped_ranker(), 10)
    question = "Where was the maker of The Quiet Shore born?"
    orders = bench.orders(question, workspace.embedder.embed([question])[0])
    found = {way: [names[int(view.index.document_id[place])] for place in places] for way, places in orders.items()}
    assert set(found["everything"][:2]) == {"film", "maker"}
    assert set(found["walk alone"]) >= {"film", "maker"}
    assert found["graph off"][0] == "film"
    assert len(view.links.entities_in(np.arange(view.count))[0]) > 0
    assert len(bench.flat.links.entities_in(np.arange(view.count))[0]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS, ids=lambda name: name.key)
def test_an_installed_peer_answers(name: Name, corpus: Path, tmp_path: Path) -> None:
    """With given vectors, so that only the question is encoded."""
    if not ready(name.peer):
        pytest.skip(f"{name.peer} is not installed; make bench-retrieval does that")
    with Process(name, model_folder()) as system:
        texts = [f"{word}\nthe" for word in WORDS]
        system.send({"do": "encode", "texts": texts, "to": str(tmp_path / "own.npy")})
        system.send({"do": "index", "corpus": str(corpus), "vectors": str(tmp_path / "own.npy")})
        answer = system.send({"do": "ask", "questions": ["What is a heron?"], "k": 10})
    assert answer["found"][0][0] == "id-heron"


def test_every_peer_has_pinned_versions() -> None:
    for peer in {name.peer for name in PEERS}:
        lines = (FOLDER / peer / "requirements.txt").read_text().splitlines()
        assert any(line == "torch==2.13.0" for line in lines)
        assert all(line.count("==") == 1 and "@" not in line for line in lines)


@pytest.mark.slow
def test_plain_questions_are_made_from_one_half_of_the_passages(models: Path) -> None:
    """The same ones each time, of every kind, and no document in both halves asked for by the same words."""
    with handbook(models, far_apart()) as site:
        view, _ = site.library.view(site.snapshots.live(), LOCAL_OWNER)
        one, other = (list(plain_questions(site, view, half, 40, len(KINDS))) for half in (0, 1))
        assert one == list(plain_questions(site, view, 0, 40, len(KINDS)))
        assert {question.kind for question in one} == set(KINDS)
        assert not {question.text for question in one} & {question.text for question in other}
        even = {int(row) for row in view.index.document_id[view.index.key & np.uint64(1) == 0]}
        assert {question.document for question in one} <= even
        shown = plain_run(site)
        assert all(
            len(ways) == 3 and 0 <= first <= five <= 1 for ways in shown.values() for first, five in ways.values()
        )


@pytest.mark.slow
def test_questions_made_of_a_corpus_know_what_is_right(models: Path) -> None:
    """Answers to plain questions are mostly right; a near miss is one of them with one word exchanged, and never so."""
    with handbook(models, far_apart()) as site:
        view, _ = site.library.view(site.snapshots.live(), LOCAL_OWNER)
        made = made_of("handbook", site, view, skip=0)
        plain, near = ([one for one in made if one.kind == kind] for kind in ("plain", "near misses"))
        assert {one.half for one in plain} == {one.half for one in near} == {0, 1}
        changed = [min(len(set(one.text.split()) ^ set(other.text.split())) for other in plain) for one in near]
        assert set(changed) == {2}
        answers = [(one, site.answering.compose(site.answering.pin(Question(one.text))).grounded) for one in made]
        right = [(one.kind, one.right(grounded)) for one, grounded in answers if grounded.answer]
        assert np.mean([good for kind, good in right if kind == "plain"]) > 0.5
        assert {good for kind, good in right if kind == "near misses"} == {False}


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)), min_size=1, max_size=12))
def test_discrimination_counts_pairs(items: list[tuple[int, bool, int]]) -> None:
    """AUC as its definition has it: over all pairs of a right and a wrong answer, each as often as it weighs."""
    good = [value for value, right, weight in items for _ in range(weight) if right]
    bad = [value for value, right, weight in items for _ in range(weight) if not right]
    values, right, weigh = (np.array([float(one[place]) for one in items]) for place in range(3))
    found = discrimination(values / 4, right, weigh)
    if good and bad:
        pairs = [(a > b) + (a == b) / 2 for a in good for b in bad]
        assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)
    else:
        assert found == ""
