"""Hybrid retrieval: BM25 by its formula, fusion by its numbers, floor, cap and "none"."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.embeddings.lexical import LexicalEmbedder, words
from agentlab.library.bm25 import BM25, K1, B
from agentlab.library.index.exact import ExactIndex
from agentlab.library.index.ranking import IdOrder, contenders, rank
from agentlab.library.retrieval import RRF, Retriever, token_count

DOCUMENTS = {
    "door": "open a locked door: fetch the key of its colour, open it",
    "next": "put one thing next to another thing",
    "goto": "go to an object that is in view",
    "pick": "pick up an object and carry it",
}
EMBEDDER = LexicalEmbedder()


def make(documents: dict[str, str]) -> Retriever:
    retriever = Retriever({}, ExactIndex(EMBEDDER.dimension), EMBEDDER)
    retriever.add(documents)
    return retriever


def by_formula(documents: dict[str, str], query: str) -> dict[str, float]:
    """BM25 read off the formula, one document at a time."""
    bags = {name: Counter(words(text)) for name, text in documents.items()}
    mean = sum(bag.total() for bag in bags.values()) / max(1, len(bags)) or 1.0
    scores: dict[str, float] = {}
    for name, bag in bags.items():
        score = 0.0
        for term in words(query):
            held = sum(term in other for other in bags.values())
            inverse = math.log(1 + (len(bags) - held + 0.5) / (held + 0.5))
            times = bag[term]
            norm = K1 * (1 - B + B * bag.total() / mean)
            score += inverse * times * (K1 + 1) / (times + norm) if times else 0.0
        scores[name] = score
    return scores


def test_bm25_worked_example() -> None:
    # N = 3, mean length 2; "red" is in two documents, "ball" in one.
    answer = BM25({"a": "red ball", "b": "red red key", "c": "door"}).ask("red ball")
    red, ball = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    assert answer.of("a").score == pytest.approx(red + ball, abs=1e-8)  # tf 1, length = mean
    expected = red * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5))
    assert answer.of("b").score == pytest.approx(expected, abs=1e-8)
    assert answer.of("c").score == 0.0
    assert [found.id for found in answer.best(5)] == ["a", "b"]
    assert answer.of("a").coverage == pytest.approx(1 / 2.2)


TEXTS = st.lists(st.sampled_from("red blue ball key door go to".split()), max_size=8).map(" ".join)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh"), TEXTS), min_size=1, max_size=40),
    TEXTS,
)
def test_bm25_follows_every_change(changes: list[tuple[bool, str, str]], query: str) -> None:
    index, held = BM25(), dict[str, str]()
    for adding, name, text in changes:
        if adding:
            index.add({name: text})
            held[name] = text
        else:
            index.remove([name])
            held.pop(name, None)
        answer, expected = index.ask(query), by_formula(held, query)
        assert len(index) == len(held)
        for each, score in expected.items():
            assert answer.of(each).score == pytest.approx(score, abs=1e-8)
            assert 0.0 <= answer.of(each).coverage < 1.0
        positive = sorted(
            (each for each in expected if answer.of(each).score > 0),
            key=lambda each: (-answer.of(each).score, each),
        )
        assert [found.id for found in answer.best(3)] == positive[:3]


def test_bm25_forgets_removed_documents() -> None:
    index = BM25({str(number): f"word{number} common" for number in range(300)})
    index.remove([str(number) for number in range(1, 300)])
    assert len(index) == 1
    assert [found.id for found in index.ask("common word7").best(5)] == ["0"]
    assert index.ask("common").of("0").score == pytest.approx(math.log(1 + 0.5 / 1.5))


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=60),
    st.integers(0, 70),
    st.randoms(use_true_random=False),
)
def test_rank_is_sorting(values: list[float], k: int, rng: random.Random) -> None:
    ids = [f"{number:03d}" for number in range(len(values))]
    rng.shuffle(ids)
    scores = np.array(values)
    likely = contenders(scores, k)
    expected = sorted(range(len(values)), key=lambda row: (-values[row], ids[row]))[:k]
    order = IdOrder(ids)
    assert rank(likely, scores[likely], order, k) == expected
    assert rank(np.arange(len(ids), dtype=np.intp), scores, order, k) == expected


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=40
    ),
    st.integers(1, 12),
)
def test_ties_are_sorted_after_every_change(changes: list[tuple[bool, int, int]], k: int) -> None:
    near = np.array([[3.0, 4.0], [4.0, 3.0], [0.0, 5.0]], dtype=np.float32)
    cosines, query = (0.6, 0.8, 0.0), np.array([1.0, 0.0], dtype=np.float32)
    lines = ("lamp", "lamp lamp", "gate")
    index, worded, held = ExactIndex(2), BM25(), dict[str, int]()
    for added, number, kind in changes:
        name = f"{number * 7 % 31:02d}"
        if added:
            held[name] = kind
            index.upsert([name], near[[kind]])
            worded.add({name: lines[kind]})
        else:
            held.pop(name, None)
            index.remove([name])
            worded.remove([name])
        nearest = sorted(held, key=lambda each: (-cosines[held[each]], each))[:k]
        assert [match.id for match in index.search(query, k)] == nearest
        answer = worded.ask("lamp")
        scored = {each: answer.of(each).score for each in held}
        sharing = [each for each in held if scored[each] > 0.0]
        expected = sorted(sharing, key=lambda each: (-scored[each], each))[:k]
        assert answer.ids(k) == expected == [found.id for found in answer.best(k)]


def test_exact_does_not_depend_on_position() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 37)).astype(np.float32)
    rows[100:140] = rows[0]
    ids = [f"i{number:03d}" for number in range(500)]
    order = rng.permutation(500)
    one, two = ExactIndex(37), ExactIndex(37)
    one.upsert(ids, rows)
    for row in map(int, order):
        two.upsert([ids[row]], rows[row : row + 1])
    two.remove(ids[:50])
    two.upsert(ids[:50], rows[:50])
    for query in rng.normal(size=(20, 37)).astype(np.float32):
        assert one.search(query, 7) == two.search(query, 7)
    assert [match.id for match in one.search(rows[0], 4)] == ["i000", "i100", "i101", "i102"]
    found = {match.id: match.similarity for match in one.search(rows[3], 9)}
    assert one.similarities(rows[3], [*found, "unknown"]) == found


def test_fusion_numbers() -> None:
    found = make(DOCUMENTS).search("open the locked door")
    assert found[0].id == "door"
    assert found[0].score == pytest.approx(2 / (RRF + 1))  # first in both rankings
    assert found[0].similarity > 0.4
    assert found[0].bm25 > 3
    assert [item.score for item in found] == sorted((i.score for i in found), reverse=True)


def test_words_alone_and_vectors_alone() -> None:
    retriever = Retriever(DOCUMENTS, ExactIndex(EMBEDDER.dimension), EMBEDDER)
    (found,) = retriever.search("locked")  # no document has a vector
    assert (found.id, found.similarity, found.score) == ("door", 0.0, pytest.approx(1 / 61))
    (near,) = make(DOCUMENTS).search("unlocked", floor=0.2)  # no document has the word
    assert (near.id, near.bm25, near.score) == ("door", 0.0, pytest.approx(1 / 61))


def test_none_is_an_answer() -> None:
    retriever = make(DOCUMENTS)
    assert retriever.search("") == ()
    assert retriever.search("?!") == ()
    assert retriever.search("zzz qqqq vvvvv", floor=0.2) == ()
    assert retriever.search("open the locked door", k=0) == ()
    assert retriever.search("open the locked door", floor=1.0) == ()
    assert make({}).search("open the locked door") == ()


def test_floor_takes_the_better_signal() -> None:
    retriever = make(DOCUMENTS)
    everything = retriever.search("open the object", floor=-1.0)
    coverage = BM25(DOCUMENTS).ask("open the object")
    for floor in (0.1, 0.2, 0.3, 0.5):
        kept = [i.id for i in retriever.search("open the object", floor=floor)]
        assert kept == [
            item.id
            for item in everything
            if max(item.similarity, coverage.of(item.id).coverage) >= floor
        ]


def test_token_cap_passes_over_what_does_not_fit() -> None:
    documents = {"a": "red ball " * 40, "b": "red ball", "c": "red ball key"}
    retriever = make(documents)
    full = [item.id for item in retriever.search("red ball")]
    assert sorted(full) == ["a", "b", "c"]
    assert token_count("red ball") == 2
    assert [i.id for i in retriever.search("red ball", tokens=5)] == [i for i in full if i != "a"]
    assert [i.id for i in retriever.search("red ball", tokens=2)] == ["b"]
    assert retriever.search("red ball", tokens=1) == ()


def test_excluded_items_take_no_place() -> None:
    documents = {f"{number:02d}": f"red ball number {number}" for number in range(40)}
    retriever = make(documents)
    exclude = [item.id for item in retriever.search("red ball", k=10)]
    others = make({name: text for name, text in documents.items() if name not in exclude})
    left = retriever.search("red ball", k=10, exclude=[*exclude, "unknown"])
    assert not {item.id for item in left} & set(exclude)
    assert len(left) == 10
    assert left[0].score == others.search("red ball", k=10)[0].score


def test_add_and_remove() -> None:
    retriever = make(DOCUMENTS)
    retriever.add({"door": "wait for the bus"})
    assert "door" not in {i.id for i in retriever.search("locked", floor=0.1)}
    assert retriever.search("bus")[0].id == "door"
    retriever.remove(["door", "unknown"])
    assert "door" not in retriever
    assert len(retriever) == 3
    assert "door" not in {i.id for i in retriever.search("wait for the bus", floor=-1)}


@given(st.lists(TEXTS, min_size=1, max_size=12), TEXTS, st.randoms(use_true_random=False))
def test_order_of_adding_does_not_matter(texts: list[str], query: str, rng: random.Random) -> None:
    documents = {f"d{number}": text for number, text in enumerate(texts)}
    names = list(documents)
    rng.shuffle(names)
    shuffled = make({name: documents[name] for name in names})
    assert make(documents).search(query, k=5) == shuffled.search(query, k=5)
