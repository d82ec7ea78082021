"""The bound on what is said: nothing is cut, no pair is split, and what is left out is told."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.executors.conversation import Conversation
from agentlab.executors.metering import estimate
from agentlab.types import ChatReply, ChatRequest, Message, ToolUse

HEAD = (
    Message(role="system", text="You act. " * 10),
    Message(role="user", text="Task: something. " * 5),
)
TURN = st.tuples(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3000)), max_size=3),
)


def a_turn(number: int, words: int, calls: list[tuple[int, int]]) -> tuple[Message, list[Message]]:
    uses = tuple(
        ToolUse(id=f"{number}-{n}", name="push", arguments="{" + "x" * size + "}")
        for n, (size, _) in enumerate(calls)
    )
    said = Message(role="assistant", text="w" * words, tool_uses=uses)
    if not uses:
        return said, [Message(role="user", text="Go on. " * 3)]
    seen = [
        Message(role="tool", tool_use_id=each.id, text=f"<{each.id} " + "s" * size + ">")
        for each, (_, size) in zip(uses, calls, strict=True)
    ]
    return said, seen


def check_whole(sent: tuple[Message, ...], original: set[str]) -> None:
    """Every message is one that was said, a fold or a summary; calls meet their answers."""
    for message in sent:
        assert (
            message.text in original
            or re.fullmatch(r"\(left out here: what was seen, about \d+ tokens\)", message.text)
            or message.text.startswith("(Summary: ")
        ), message.text[:80]
    place = 0
    while place < len(sent):
        uses = sent[place].tool_uses
        answers = sent[place + 1 : place + 1 + len(uses)]
        assert [u.id for u in uses] == [a.tool_use_id for a in answers]
        assert all(answer.role == "tool" for answer in answers)
        place += 1 + len(uses)
        if place < len(sent) and not uses:
            assert sent[place].role != "tool"


@settings(max_examples=150)
@given(st.lists(TURN, max_size=25), st.integers(500, 6000))
def test_within_the_bound_with_whole_messages_and_pairs(
    turns: list[tuple[int, list[tuple[int, int]]]], most: int
) -> None:
    talk = Conversation(HEAD, most_tokens=most)
    original = {message.text for message in HEAD}
    calls = 0
    for number, (words, made) in enumerate(turns):
        said, answers = a_turn(number, words, made)
        original |= {said.text, *(answer.text for answer in answers)}
        calls += len(made)
        talk.add(said, answers)
        sent = talk.messages()
        if sent is None:
            assert estimate((*HEAD, said)) > most * 0.5, "it gave up though little must be said"
            return
        assert estimate(sent) <= most
        assert sent[: len(HEAD)] == HEAD
        assert said in sent, "the last turn is there"
        check_whole(sent, original)
        gone, _ = talk.left_out
        assert gone + len(talk.turns) == number + 1
        summaries = [m.text for m in sent if m.text.startswith("(Summary: ")]
        assert len(summaries) == (gone > 0)
        if summaries:
            kept = sum(len(turn.said.tool_uses) for turn in talk.turns)
            assert f"{gone} earlier turns with {calls - kept} calls are left out" in summaries[0]


def test_nothing_is_folded_within_the_bound() -> None:
    talk = Conversation(HEAD, most_tokens=5000)
    said, answers = a_turn(0, 10, [(10, 1000)])
    talk.add(said, answers)
    assert talk.messages() == (*HEAD, said, *answers)
    assert talk.left_out == (0, 0)


def test_old_observations_go_before_turns_and_the_calls_stay() -> None:
    talk = Conversation(HEAD, most_tokens=1200)
    for number in range(6):
        talk.add(*a_turn(number, 5, [(10, 1000)]))
    sent = talk.messages()
    assert sent is not None
    assert talk.left_out[0] == 0 and talk.left_out[1] > 0
    assert sum(len(message.tool_uses) for message in sent) == 6
    assert any("left out here: what was seen, about 251 tokens" in m.text for m in sent)
    assert talk.messages() == sent, "folding goes below the bound, and is not due again at once"


def test_an_observation_larger_than_the_bound_is_left_out_whole() -> None:
    talk = Conversation(HEAD, most_tokens=600)
    talk.add(*a_turn(0, 5, [(10, 10**6)]))
    sent = talk.messages()
    assert sent is not None
    assert sent[-1].text == "(left out here: what was seen, about 250001 tokens)"


def test_the_summary_names_the_last_calls_and_quotes_them() -> None:
    talk = Conversation(HEAD, most_tokens=700)
    for number in range(60):
        talk.add(*a_turn(number, 40, [(5, 100)]))
        assert talk.messages() is not None
    (summary,) = (m.text for m in talk.messages() or () if m.text.startswith("(Summary: "))
    assert re.search(r"The last \d+ of those calls: ⟦push \{xxxxx\}\n", summary)


def test_where_the_head_does_not_fit_there_is_nothing_to_send() -> None:
    talk = Conversation([Message(role="user", text="w" * 8000)], most_tokens=1000)
    assert talk.messages() is None


def asked(*messages: Message) -> ChatRequest:
    return ChatRequest(messages=messages)


def test_the_estimate_is_corrected_by_what_a_reply_told() -> None:
    talk = Conversation(HEAD, most_tokens=10_000)
    request = asked(Message(role="user", text="w" * 3984))
    plain = talk.tokens()
    reply = Message(role="assistant", text="")
    talk.learn(request, ChatReply(message=reply, prompt_tokens=2000))
    assert talk.tokens() == 2 * plain
    for nonsense in (0, 1, 10**9):
        talk.learn(request, ChatReply(message=reply, prompt_tokens=nonsense))
        assert talk.tokens() == 2 * plain
