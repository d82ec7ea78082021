"""What retrieval costs beside its bare parts: p50, p95 and memory at 1k, 10k and 100k items.

Run by `make bench` (pytest-benchmark); nothing here passes or fails by time. In one run and over
the same texts it measures bare numpy (a product and a partial sort), bare Chroma (a client and a
collection as its documentation has it), the exact index, the served one, and the hybrid from a
query's text to the offered items. The last test prints a table with the ratios to bare Chroma
and to bare numpy.

Sizes come from `AGENTLAB_BENCH_SIZES`, by default `1000,10000,100000`; filling Chroma with
100,000 items takes most of a minute, twice. Targets there: p95 under 5 ms for the vector part
and under 15 ms for the hybrid.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import chromadb
import numpy as np
import pytest
from chromadb.api.client import Client
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.embeddings.lexical import LexicalEmbedder
from agentlab.library.index.chroma import BATCH
from agentlab.library.index.exact import ExactIndex
from agentlab.library.retrieval import Retriever
from agentlab.library.served import ServedIndex, Stored
from agentlab.protocols import Vectors

SIZES = [int(n) for n in os.environ.get("AGENTLAB_BENCH_SIZES", "1000,10000,100000").split(",")]
QUERIES = 200
K = 16
EMBEDDER = LexicalEmbedder()

Ask = Callable[[int], object]
"""Answers query number i."""


@dataclass
class Line:
    """What one way of searching took."""

    fill: float = 0.0
    """Seconds."""
    megabytes: float = 0.0
    times: list[float] = field(default_factory=list[float])
    """Seconds a query."""
    recall: float | None = None
    """Share of the true nearest found, where it was looked at."""

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return float(np.quantile(self.times, share)) * 1000.0


LINES: dict[tuple[int, str], Line] = {}


@dataclass(frozen=True)
class Corpus:
    """Documents like those of skills, their vectors, and queries like instructions."""

    documents: dict[str, str]
    vectors: Vectors
    queries: list[str]
    query_vectors: Vectors

    @property
    def ids(self) -> list[str]:
        return list(self.documents)


@pytest.fixture(scope="module", params=SIZES)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    rng = random.Random(0)
    letters = "abcdefghijklmnoprstuvw"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(3, 9))) for _ in range(8000)]
    weights = [1.0 / (place + 1) for place in range(len(vocabulary))]  # as words are: Zipf's law
    texts = [" ".join(rng.choices(vocabulary, weights, k=20)) for _ in range(request.param)]
    queries = [" ".join(rng.choices(vocabulary, weights, k=10)) for _ in range(QUERIES)]
    documents = {f"skill-{place:06d}": text for place, text in enumerate(texts)}
    return Corpus(documents, EMBEDDER.embed(texts), queries, EMBEDDER.embed(queries))


def resident() -> float:
    """Resident memory of this process, MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def filling(corpus: Corpus, way: str) -> Generator[Line]:
    line = LINES[len(corpus.documents), way] = Line()
    memory, start = resident(), perf_counter()
    yield line
    line.fill, line.megabytes = perf_counter() - start, resident() - memory


def measure(benchmark: BenchmarkFixture, line: Line, ask: Ask) -> None:
    numbers = count()

    def once() -> None:
        start = perf_counter()
        ask(next(numbers) % QUERIES)
        line.times.append(perf_counter() - start)

    cast("Any", benchmark).pedantic(once, rounds=QUERIES, warmup_rounds=20)
    del line.times[:20]


def recall(corpus: Corpus, found: list[set[str]]) -> float:
    """Ties at the end of a true list count as found."""
    hits = 0
    rows = {identifier: row for row, identifier in enumerate(corpus.ids)}
    for query, ids in zip(corpus.query_vectors, found, strict=True):
        scores = corpus.vectors @ query
        last = np.partition(scores, len(scores) - K)[len(scores) - K]
        hits += sum(bool(scores[rows[identifier]] >= last - 1e-6) for identifier in ids)
    return hits / (K * len(found))


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Generator[None]:
    """Prints what was measured, side by side, past pytest's capture."""
    yield
    capture = cast("Any", request.config.pluginmanager.getplugin("capturemanager"))
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        print_table()


def print_table() -> None:
    print(
        f"\n{'items':>7} {'way':<12} {'p50 ms':>8} {'p95 ms':>8} {'p95/chroma':>10} "
        f"{'p95/numpy':>9} {'fill s':>7} {'MB':>7} {'recall':>6}"
    )
    for (size, way), line in sorted(LINES.items(), key=lambda each: each[0][0]):
        if not line.times:
            continue
        ratios = [
            f"{line.percentile(0.95) / other.percentile(0.95):.2f}"
            if (other := LINES.get((size, bare))) and other.times
            else "-"
            for bare in ("bare chroma", "bare numpy")
        ]
        told = "-" if line.recall is None else f"{line.recall:.3f}"
        print(
            f"{size:>7} {way:<12} {line.percentile(0.5):>8.3f} {line.percentile(0.95):>8.3f} "
            f"{ratios[0]:>10} {ratios[1]:>9} {line.fill:>7.2f} {line.megabytes:>7.1f} {told:>6}"
        )


class Truth:
    """The corpus as records would give it."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def read(self) -> Stored:
        return Stored(self._corpus.ids, self._corpus.vectors)


@contextmanager
def served(corpus: Corpus, root: Path) -> Generator[ServedIndex]:
    with ServedIndex(
        Truth(corpus), dimension=EMBEDDER.dimension, embedder=EMBEDDER.name, root=root
    ) as index:
        assert index.wait().state == "ready"
        yield index


def test_bare_numpy(benchmark: BenchmarkFixture, corpus: Corpus) -> None:
    with filling(corpus, "bare numpy") as line:
        matrix = corpus.vectors.copy()

    def ask(number: int) -> object:
        scores = matrix @ corpus.query_vectors[number]
        best = np.argpartition(scores, len(scores) - K)[-K:]
        return best[np.argsort(-scores[best])]

    measure(benchmark, line, ask)


def test_bare_chroma(benchmark: BenchmarkFixture, corpus: Corpus, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with filling(corpus, "bare chroma") as line:
            client = cast("Client", chromadb.PersistentClient(tmp_path))
            stack.callback(client.close)
            collection = client.create_collection(
                "bare", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
            )
            ids = corpus.ids
            for start in range(0, len(ids), BATCH):
                end = start + BATCH
                collection.add(ids=ids[start:end], embeddings=corpus.vectors[start:end])
        measure(
            benchmark,
            line,
            lambda number: collection.query(
                query_embeddings=corpus.query_vectors[number : number + 1],
                n_results=K,
                include=["distances"],
            ),
        )


def test_exact(benchmark: BenchmarkFixture, corpus: Corpus) -> None:
    with filling(corpus, "exact") as line:
        index = ExactIndex(EMBEDDER.dimension)
        index.upsert(corpus.ids, corpus.vectors)
    measure(benchmark, line, lambda number: index.search(corpus.query_vectors[number], K))


def test_served_and_hybrid(benchmark: BenchmarkFixture, corpus: Corpus, tmp_path: Path) -> None:
    """One test, so that Chroma is filled once: the hybrid stands on the served index."""
    with ExitStack() as stack:
        with filling(corpus, "served") as line:
            index = stack.enter_context(served(corpus, tmp_path / "index"))
        found: list[set[str]] = []
        for number in range(-20, QUERIES):  # the first 20 warm up
            start = perf_counter()
            matches = index.search(corpus.query_vectors[number], K)
            if number >= 0:
                line.times.append(perf_counter() - start)
                found.append({match.id for match in matches})
        line.recall = recall(corpus, found)
        with filling(corpus, "hybrid") as hybrid:
            retriever = Retriever(corpus.documents, index, EMBEDDER)
        hybrid.megabytes += line.megabytes
        measure(
            benchmark,
            hybrid,
            lambda number: retriever.search(corpus.queries[number], k=K, tokens=4000),
        )
