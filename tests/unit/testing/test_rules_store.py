"""The rules that play the shop: what they understand, forget and see."""

from __future__ import annotations

import random

import pytest

from agentlab.testing.rules import load_rule, store
from agentlab.types import ChatRequest, Message, Sampling, ToolSpec

PAGE = 'Page: Home - Shop\n- searchbox "Search products"\n- link "Elm Tote" -> /product/elm-tote'
CART = 'Page: Cart - Shop\n- spinbutton "Quantity of Elm Tote, Small" [ref=e1]: 1'
CLICK = ToolSpec(name="click", description="Click.", parameters={"type": "object"})


def asked(text: str, *more: Message, advice: str = "none", seed: int | None = None) -> Message:
    said = f"Task: ⟦{text}⟧\n\nWhat there is now: ⟦{PAGE}⟧\n\nAdvice: ⟦{advice}⟧"
    messages = (Message(role="system", text="You act."), Message(role="user", text=said), *more)
    request = ChatRequest(messages=messages, tools=(CLICK,), sampling=Sampling(seed=seed))
    return store.play(request)


def test_an_instruction_is_read_as_clauses() -> None:
    first, second = store.parse(
        "Have 2 of Elm Tote (Small) in the cart, and save Red Mug for later."
    )
    assert first == ("in_cart", {"count": "2", "product": "Elm Tote", "size": "Small"})
    assert second == ("saved", {"product": "Red Mug"})
    assert store.parse("Paint the wall.") == ()


@pytest.mark.parametrize(
    ("advice", "thinks"),
    [("none", False), ("Fill in the quantity on the page before it is added.", True)],
)
def test_it_forgets_the_quantity_until_something_speaks_of_it(advice: str, thinks: bool) -> None:
    said = asked("Have 2 of Elm Tote in the cart.", advice=advice)
    assert [use.name for use in said.tool_uses][:3] == ["fill", "click", "click"]
    assert any('"Quantity"' in use.arguments for use in said.tool_uses) is thinks


def test_with_some_seeds_it_looks_at_the_cart_again() -> None:
    begun = asked("Have 2 of Elm Tote in the cart.")
    answers = [
        Message(role="tool", text=f"⟦{CART}⟧", tool_use_id=use.id) for use in begun.tool_uses
    ]
    said = [asked("Have 2 of Elm Tote in the cart.", begun, *answers, seed=s) for s in range(40)]
    mended = [each for each in said if each.tool_uses]
    assert 0 < len(mended) < 30
    assert all("Update Elm Tote, Small" in each.tool_uses[-1].arguments for each in mended)


def test_it_asks_for_a_quantity_only_where_it_has_seen_one() -> None:
    def instructions(known: str) -> set[str]:
        text = f"What the agent sees: ⟦{PAGE}⟧\n{known}"
        request = ChatRequest(messages=(Message(role="user", text=text),))
        return {store.task(request, random.Random(seed))[0] for seed in range(20)}

    assert instructions("") == {"Open the page of Elm Tote."}
    assert any("in the cart" in each for each in instructions('buttons: "Add Elm Tote to cart"'))


def test_evidence_is_the_last_line_that_shows_it() -> None:
    shown = [*PAGE.split("\n"), *CART.split("\n")]
    assert store.evidence("have 1 of Elm Tote in the cart", shown) == shown[-1]
    assert store.evidence("have 2 of Elm Tote in the cart", shown) == ""
    assert store.evidence("open the page of Elm Tote", shown) == ""
    assert store.evidence("deliver the red parcel", shown) is None


def test_a_skill_is_written_for_opening_pages_alone() -> None:
    made = store.skill("viewing", [(1, "Open the page of Elm Tote."), (2, "Open the page of Mug.")])
    assert made is not None and "product" in str(made["source"])
    assert "Elm Tote" not in str(made["source"])
    assert store.skill("in_cart", [(1, "Have 2 of Mug in the cart.")]) is None


def test_the_set_is_shipped() -> None:
    assert callable(load_rule("store"))
