"""Where a page's words and a task's words meet, search looks first; and nothing else is known."""

from __future__ import annotations

import math

import pytest

from agentlab.environments.web import tree
from agentlab.environments.web.clues import Clues, words
from agentlab.environments.web.snapshot import View
from agentlab.types import ToolCall

HOME = """\
- link "Our shop" [ref=e1]:
  - /url: /
- searchbox "Search goods" [ref=e2]
- button "Search" [ref=e3]
- navigation "Personal":
  - link "Sign in" [ref=e4]:
    - /url: /sign-in
  - link "Cart" [ref=e5]:
    - /url: /cart
- link "Oak Chair" [ref=e6]:
  - /url: /goods/oak-chair
- link "Ash Stool" [ref=e7]:
  - /url: /goods/ash-stool
- link "To the ash stool" [ref=e8]:
  - /url: /goods/ash-stool
"""
GOODS = """\
- searchbox "Search goods" [ref=e2]
- button "Search" [ref=e3]
- heading "Elm Bench" [level=1]
- combobox "Size" [ref=e4]:
  - option "Small" [selected]
  - option "Large"
- button "Less: Quantity" [ref=e5]
- spinbutton "Quantity" [ref=e6]: "1"
- button "Add Elm Bench to cart" [ref=e7]
- button "Remove" [ref=e8]
"""
TEXTS = {"2": ("quantity", "number"), "Elm Bench": ("goods", "name"), "Large": ("goods", "size")}
ASKED = "Have 2 of Elm Bench (Large) in the cart."


def view(text: str, url: str = "http://localhost/") -> View:
    root = tree.tidied(tree.parse(text))
    return View(url, "", root, tuple(tree.acted_on(root)), (), 0, "", "", (0, 0))


def call(tool: str, **arguments: str) -> ToolCall:
    return ToolCall(tool=tool, arguments={**arguments})


def cost(page: View, one: ToolCall) -> float:
    return Clues(ASKED, TEXTS).costs(page, [one])[0]


def test_a_word_has_one_spelling() -> None:
    assert words("E-mail addresses") == words("email address")
    assert words("Saved items") == words("save item")
    assert words("the of and") == ()


def test_the_field_that_goes_by_the_things_name_comes_first() -> None:
    page = view(HOME)
    name, size = (call("fill", label="Search goods", text=t) for t in ("Elm Bench", "Large"))
    assert cost(page, name) < cost(page, size)
    assert cost(page, name) < cost(page, call("click", name="Cart"))
    assert cost(page, call("click", name="Cart")) < cost(page, call("click", name="Sign in"))


def test_the_button_after_what_was_entered_is_due() -> None:
    before, after = view(HOME), view(HOME.replace('goods" [ref=e2]', 'goods" [ref=e2]: Elm Bench'))
    press = call("click", name="Search")
    assert cost(after, press) < cost(before, press)
    # Once the page has answered, it is not.
    answered = after._replace(url="http://localhost/goods?q=Elm+Bench")
    assert cost(answered, press) > cost(after, press)


def test_a_form_is_filled_in_from_its_top_and_then_sent() -> None:
    page = view(GOODS, "http://localhost/goods/elm-bench")
    size = call("select", label="Size", option="Large")
    number = call("fill", label="Quantity", text="2")
    add = call("click", name="Add Elm Bench to cart")
    assert cost(page, size) < cost(page, number)
    assert cost(page, size) < cost(page, add)
    chosen = GOODS.replace('"Small" [selected]', '"Small"').replace('"Large"', '"Large" [selected]')
    page = view(chosen, "http://localhost/goods/elm-bench")
    assert cost(page, number) < cost(page, add)
    filled = view(chosen.replace('"1"', '"2"'), "http://localhost/goods/elm-bench")
    assert cost(filled, add) < cost(page, add)
    assert cost(filled, add) < cost(filled, call("click", name="Less: Quantity"))
    assert cost(filled, add) < cost(filled, call("click", name="Remove"))


def test_one_does_not_search_for_what_one_looks_at() -> None:
    again = call("fill", label="Search goods", text="Elm Bench")
    assert cost(view(GOODS), again) > cost(view(HOME), again)


@pytest.mark.parametrize(
    "nothing",
    [
        call("fill", label="Quantity", text="1"),
        call("select", label="Size", option="Small"),
        call("select", label="Size", option="Quantity"),
        call("click", name="Elm Bench"),
        call("click", name="Large"),
    ],
)
def test_what_would_change_nothing_is_left_out(nothing: ToolCall) -> None:
    assert cost(view(GOODS), nothing) == math.inf


def test_links_of_one_pattern_share_and_a_second_link_waits() -> None:
    page = view(HOME)
    alone, one, other = (
        cost(page, call("click", name=n)) for n in ("Sign in", "Oak Chair", "Ash Stool")
    )
    assert one == other > alone
    assert cost(page, call("click", name="To the ash stool")) > other


def test_no_answer_depends_on_the_order_of_the_questions() -> None:
    page = view(GOODS)
    calls = [call("click", name=name) for name, _ in page.controls]
    told = Clues(ASKED, TEXTS).costs(page, calls)
    assert Clues(ASKED, TEXTS).costs(page, calls[::-1]) == told[::-1]
    assert all(each >= 0 for each in told)
