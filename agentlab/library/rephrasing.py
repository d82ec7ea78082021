"""What users mean when they have to say it again: a rephrased request as a signal.

After Ponnusamy, Roshan Ghias, Guo and Sarikaya 2020, "Feedback-Based Self-Learning in Large-Scale
Conversational AI Agents". A conversation is a walk over requests that ends in success or failure,
and walks of many conversations together are an absorbing Markov chain. With transition counts
turned into probabilities, Q among requests and R from requests into the endings,

    N = (I - Q)^-1,    B = N R,    B[i, +] = sum over j of N[i, j] R[j, +]

where N[i, j] is the expected number of visits to j from i, and a summand is the probability that
who begins with i comes to success from j. The rewrite of i is the j with the largest summand.

We differ in three things. Beside success and failure there is a third ending, where nobody knows;
so every walk ends and I - Q can always be inverted. A rewrite needs support from several
conversations, and its own success must be shown to exceed that of the request: the intervals
(Wilson's, 95 %) may not overlap. However often something is said in one conversation, it is one
voice there, so that nobody decides alone what others mean. And
walks are over what was *attempted*: a request that was rewritten counts for what it was rewritten
to, so that a rewrite does not feed on itself; the requests that are left as they were, by a draw,
go on telling how they do.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentlab.records import RequestRow
from agentlab.statistics import Estimate, wilson
from agentlab.types import Scope, derive_id

Ending = Literal["success", "failure", "unknown"]
ENDINGS: tuple[Ending, ...] = ("success", "failure", "unknown")
"""The columns of R."""
MOST_STATES = 2_000
"""Requests in a chain, the most frequent first; what is rarer has no support anyway."""
LEAST_SUPPORT = 5
"""Conversations in which a request must have come to success by the rewrite."""
SAME = 1e-9
"""Probabilities that differ by less are the same."""


class Walk(NamedTuple):
    """The requests of a conversation up to an ending, normalised."""

    requests: tuple[str, ...]
    ending: Ending
    conversation: tuple[str, str] = ("", "")
    """Whose it is, and its name there: names of one scope mean nothing in another."""


class Chain(NamedTuple):
    """An absorbing Markov chain over requests."""

    states: tuple[str, ...]
    transient: NDArray[np.float64]
    """Q, shape `(n, n)`: from a request to the next one."""
    absorbing: NDArray[np.float64]
    """R, shape `(n, 3)`: from a request to each of `ENDINGS`."""

    @property
    def visits(self) -> NDArray[np.float64]:
        """N, shape `(n, n)`: the expected visits to each request from each."""
        identity = np.eye(len(self.states))
        return np.linalg.solve(identity - self.transient, identity).astype(np.float64)

    @property
    def absorbed(self) -> NDArray[np.float64]:
        """B = N R, shape `(n, 3)`: the probability of each ending from each request."""
        return self.visits @ self.absorbing

    @property
    def success_by(self) -> NDArray[np.float64]:
        """Shape `(n, n)`: the probability of coming from i to success, from j last."""
        return self.visits * self.absorbing[:, 0]


class Rewrite(NamedTuple):
    """A request that is better said in other words."""

    id: str
    request: str
    """Normalised."""
    instead: str
    """As it was last attempted with success."""
    support: int
    """Conversations in which the request came to success by it."""
    before: Estimate
    """How often the request ends in success, where its end is known; of each conversation at most
    one success and one failure count."""
    after: Estimate
    """The same of the rewrite."""


def normalised(request: str) -> str:
    """A request as a state: case, spaces and closing marks make no difference."""
    text = unicodedata.normalize("NFKC", request).casefold()
    return " ".join(text.split()).strip(" .!?")


def walks(rows: Iterable[RequestRow]) -> list[Walk]:
    """The walks of conversations, from requests in the order of asking.

    A conversation is its scope's: two that have one name in two scopes are two.
    A success ends a walk, and the next request of the conversation begins another. One that is
    followed by another request without success was said again; where a conversation stops, the
    walk ends as its last attempt did.
    """
    conversations: dict[tuple[str, str], list[RequestRow]] = {}
    for row in rows:
        conversations.setdefault((row.scope, row.session), []).append(row)
    found: list[Walk] = []
    for key, told in conversations.items():
        path: list[str] = []
        for row in told:
            path.append(normalised(row.asked))
            if row.success:
                found.append(Walk(tuple(path), "success", key))
                path = []
        if path:
            known = told[-1].success is not None
            found.append(Walk(tuple(path), "failure" if known else "unknown", key))
    return found


def chain_of(found: Sequence[Walk]) -> Chain:
    """The chain whose probabilities are the walks' relative frequencies.

    Requests beyond the most frequent ones are left out of the walks; how a walk ended that ended
    with one of them is then not known.
    """
    counted = Counter(request for walk in found for request in walk.requests)
    frequent = sorted(counted, key=lambda request: (-counted[request], request))[:MOST_STATES]
    states = tuple(sorted(frequent))
    place = {state: number for number, state in enumerate(states)}
    size = len(states)
    counts = np.zeros((size, size + len(ENDINGS)))
    for walk in found:
        path = [place[request] for request in walk.requests if request in place]
        for here, there in pairwise(path):
            counts[here, there] += 1
        if path:
            ending = walk.ending if walk.requests[-1] in place else "unknown"
            counts[path[-1], size + ENDINGS.index(ending)] += 1
    # A state is in a walk, and each place of a walk leads on or ends it: no row is zero.
    shares = counts / counts.sum(axis=1, keepdims=True) if size else counts
    return Chain(states, shares[:, :size], shares[:, size:])


def rewrites(
    rows: Sequence[RequestRow],
    *,
    environment: str,
    scope: Scope,
    support: int = LEAST_SUPPORT,
) -> Mapping[str, Rewrite]:
    """By normalised request, what to attempt instead; only what is shown to do better.

    Args:
        rows: what the scope may read, in the order of asking.
        environment: where they were made.
        scope: whose the rewrites are.
        support: conversations that must have come to success that way.
    """
    found = list(dict.fromkeys(walks(rows)))
    chain = chain_of(found)
    tallies = _tallies(found)
    spelt = {normalised(row.asked): row.asked for row in rows if row.success}
    places = {state: number for number, state in enumerate(chain.states)}
    open_to: dict[str, dict[str, int]] = {}
    for (request, instead), number in sorted(_reached(found).items()):
        if number >= support and request in places and instead in places:
            open_to.setdefault(request, {})[instead] = number
    likely = chain.success_by if open_to else np.zeros((0, 0))
    made: dict[str, Rewrite] = {}
    for request, voices in open_to.items():
        own = likely[places[request]]
        instead = max(voices, key=lambda other: own[places[other]])
        # Whoever comes to success as often by the words as they are is left alone.
        if own[places[instead]] <= own[places[request]] + SAME or instead not in spelt:
            continue
        before, after = _rate(tallies, request), _rate(tallies, instead)
        if before is None or after is None or after.low <= before.high:
            continue
        key = derive_id("rewrite", environment, scope.path, request, instead)
        made[request] = Rewrite(key, request, spelt[instead], voices[instead], before, after)
    return made


def _tallies(found: Iterable[Walk]) -> Counter[tuple[str, bool]]:
    """In how many conversations each request was attempted with success, and without."""
    seen: set[tuple[tuple[str, str], str, bool]] = set()
    for walk in found:
        seen |= {(walk.conversation, request, False) for request in walk.requests[:-1]}
        if walk.ending != "unknown":
            seen.add((walk.conversation, walk.requests[-1], walk.ending == "success"))
    return Counter((request, success) for _, request, success in seen)


def _reached(found: Iterable[Walk]) -> Counter[tuple[str, str]]:
    """In how many conversations each request came to success by each later one."""
    seen = {
        (walk.conversation, request, walk.requests[-1])
        for walk in found
        if walk.ending == "success"
        for request in walk.requests[:-1]
    }
    return Counter((request, instead) for _, request, instead in seen)


def _rate(tallies: Counter[tuple[str, bool]], request: str) -> Estimate | None:
    good = tallies[request, True]
    n = good + tallies[request, False]
    return Estimate(good / n, *wilson(good, n), n) if n else None
