"""What a small model might know of a shop on the web: its words, and how one buys there.

It searches for a product, opens its page and acts there, by role and name. What it forgets is the
quantity: one of a thing lands in the cart, whatever was asked. It thinks of it where something in
the request says to, a piece of advice or a skill among its tools, and with some seeds after it has
seen the cart. It reads instructions and pages alone, and never what a verifier sees.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.testing.rules.reading import Call, acting, given, labelled, own_turns, whole_text
from agentlab.types import ChatRequest, JsonObject, Message, ToolSpec, derive_uniform

REMEMBERS = 0.3
"""Of the seeds, those with which it puts the quantity right once it has seen the cart."""
MOST_EXPLORED = 4
CREDENTIALS = re.compile(r" The e-mail address is (\S+) and the password is (\S+)\.")
CLAUSES: tuple[tuple[str, str], ...] = (
    ("viewing", r"open the page of (?P<product>.+)"),
    ("signed_in", r"sign in as (?P<customer>.+)"),
    ("in_cart", r"have (?P<count>\d+) of (?P<product>.+?)(?: \((?P<size>.+)\))? in the cart"),
    ("discounted", r"use the discount code (?P<code>\w+)"),
    ("saved", r"save (?P<product>.+) for later"),
    ("phone_set", r"set the phone number to (?P<phone>.+)"),
)
PRODUCT = re.compile(r'link "([^"]+)"[^\n]*-> /product/')
PAGE = re.compile(r"(?m)^(?:⟦|.*\| )?Page: (.+)$")
SEARCHED = "Search products"


class Clause(NamedTuple):
    """One thing that is asked for."""

    predicate: str
    values: dict[str, str]


def parse(text: str) -> tuple[Clause, ...]:
    """The clauses of an instruction in the shop's words; empty if it is none."""
    said = CREDENTIALS.sub("", text.strip()).rstrip(".")
    made: list[Clause] = []
    for part in re.split(r", and (?=[a-z]+ )", said[:1].lower() + said[1:]):
        for predicate, pattern in CLAUSES:
            found = re.fullmatch(pattern, part.strip())
            if found is not None:
                values = {name: value for name, value in found.groupdict().items() if value}
                made.append(Clause(predicate, values))
                break
        else:
            return ()
    return tuple(made)


def steps(clause: Clause, *, quantity: bool) -> list[Call]:
    """The calls that bring a clause about, from any page of the shop.

    Args:
        clause: what is asked for.
        quantity: whether it thinks of how many.
    """
    values = clause.values
    name = values.get("product", "")
    found: list[Call] = [_fill(SEARCHED, name), _press("Search"), _follow(name)]
    match clause.predicate:
        case "viewing":
            return found
        case "in_cart":
            if "size" in values:
                found.append(("select", _arguments(label="Size", option=values["size"])))
            found += [_fill("Quantity", values["count"])] if quantity else []
            return [*found, _press(f"Add {name} to cart")]
        case "saved":
            return [*found, _press(f"Save {name} for later")]
        case "discounted":
            return [_follow("Cart"), _fill("Discount code", values["code"]), _press("Apply code")]
        case "phone_set":
            return [
                *(_follow("Your account"), _follow("Personal details")),
                *(_fill("Phone number", values["phone"]), _press("Save details")),
            ]
        case _:
            return []


def play(request: ChatRequest) -> Message:
    """The calls of the next clause, or the last words."""
    instruction = _instruction(request)
    asked = parse(instruction)
    if not asked:
        return Message(role="assistant", text="I do not see what to do here.")
    turn = own_turns(request)
    credentials = CREDENTIALS.search(instruction)
    ahead = bool(credentials)
    if credentials is not None and turn == 0:
        return acting(request, _sign_in(credentials[1], credentials[2]))
    if asked[0].predicate == "signed_in":
        asked = asked[1:]
    if turn - ahead < len(asked):
        clause = asked[turn - ahead]
        skill = _skill(request.tools, clause)
        if skill is not None:
            return acting(request, [skill])
        return acting(request, steps(clause, quantity=_remembers(request)))
    wrong = _miscounted(asked, whole_text(request))
    if wrong is not None and turn - ahead == len(asked) and _bethinks(request):
        return acting(request, wrong)
    if turn - ahead > len(asked) + 1 or "The call was refused" in request.messages[-1].text:
        return Message(role="assistant", text="I could not do it.")
    return Message(role="assistant", text="Done: everything that was asked for is so.")


def explore(request: ChatRequest) -> Message:
    """Open a product that can be seen, look at it, and stop."""
    seen = PRODUCT.findall(whole_text(request))
    made = own_turns(request)
    calls: list[Call] = [_follow(seen[0]), ("read", {}), ("back", {})] if seen else []
    if made >= min(len(calls), MOST_EXPLORED):
        return Message(role="assistant", text="I have seen enough.")
    return acting(request, [calls[made]])


def task(request: ChatRequest, rng: random.Random) -> tuple[str, list[Call], list[list[Call]]]:
    """Instruction, solution and failing cases for the start state that a prompt shows.

    It asks for what it has seen: a product to open, and where a page with a quantity was seen,
    before or while exploring, for some of it in the cart. All empty where it sees no shop.
    """
    pages = [page for page in given(request) if SEARCHED in page]
    start = labelled(request, "(?:start state as the agent|what you see)") or "".join(pages[:1])
    products = sorted(set(PRODUCT.findall(start)))
    if not products:
        return "", [], []
    known = whole_text(request)
    name, other = rng.choice(products), rng.choice(products)
    kinds = ["viewing"]
    if re.search(r'"Add [^"]+ to cart"', known) and 'link "Manage shop"' not in start:
        kinds += ["in_cart", "in_cart"]
    kind = rng.choice(kinds)
    count = str(rng.randrange(2, 5))
    clause = Clause(kind, {"product": name, **({"count": count} if kind == "in_cart" else {})})
    said = f"Open the page of {name}."
    if kind == "in_cart":
        said = f"Have {count} of {name} in the cart."
    failing = [[_follow("Cart")], [_fill(SEARCHED, name), _press("Search")]]
    if other != name:
        failing.append([_follow(other)])
    return said, steps(clause, quantity=True), failing


def skill(predicate: str, attempts: Sequence[tuple[int, str]]) -> JsonObject | None:
    """A function that opens the page of any product; None where it is asked for another.

    Args:
        predicate: what the attempts brought about.
        attempts: the number and the instruction of each.
    """
    named = [(number, parse(text)) for number, text in attempts]
    if predicate != "viewing" or not all(clauses for _, clauses in named):
        return None
    lines = "\n".join(f"    {line}" for line in _lines("product"))
    summary = "Search for a product and open its page."
    return {
        "name": "viewing_product",
        "summary": summary,
        "source": f'def viewing_product(env, *, product: str):\n    """{summary}\n\n'
        "    Precondition: the shop has a product of that name.\n"
        f'    Effect: its page is shown.\n    """\n{lines}\n',
        "parameters": [{"name": "product", "type": "control", "requires": {"role": "link"}}],
        "precondition": [],
        "effect": ["The page of the product is shown, and was not before."],
        "effect_source": "def check(initial, final, *, product):\n"
        '    paths = ["/product/" + p["slug"] for p in final["products"] if p["name"] == product]\n'
        '    return final["page"]["path"] in paths and initial["page"]["path"] not in paths\n',
        "achieves": {"predicate": "viewing", "arguments": {"product": "product"}},
        "tests": [
            {"attempt": number, "arguments": {"product": clauses[0].values["product"]}}
            for number, clauses in named
        ],
    }


def _lines(parameter: str) -> list[str]:
    """The steps to a product's page as code, with a parameter in the product's place."""
    mark = "THE PRODUCT"
    found: list[str] = []
    for tool, arguments in steps(Clause("viewing", {"product": mark}), quantity=False):
        told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        found.append(f"env.{tool}({told})".replace(repr(mark), parameter))
    return found


def evidence(point: str, shown: Sequence[str]) -> str | None:
    """The line that shows a point of an instruction, as it was last; None if it is of no shop."""
    asked = parse(point)
    if len(asked) != 1 or not any("Page: " in line for line in shown):
        return None
    values = asked[0].values
    name = values.get("product", "")
    match asked[0].predicate:
        case "viewing":
            pages = [line for line in shown if line.startswith("Page: ")]
            return pages[-1] if pages[-1].startswith(f"Page: {name} ") else ""
        case "in_cart":
            size = values.get("size", "")
            lines = [line for line in shown if f'spinbutton "Quantity of {name}, {size}' in line]
            return lines[-1] if lines and lines[-1].endswith(f": {values['count']}") else ""
        case "saved":
            lines = [line for line in shown if f'button "Remove {name} from saved' in line]
        case "discounted":
            lines = [line for line in shown if values["code"] in line and "%" in line]
        case "phone_set":
            lines = [line for line in shown if values["phone"] in line]
        case _:
            lines = [line for line in shown if 'link "Your account"' in line]
    return lines[-1] if lines else ""


def _instruction(request: ChatRequest) -> str:
    plain = [line for m in request.messages if m.role == "user" for line in m.text.split("\n")]
    pieces = [labelled(request, "task"), *given(request), *plain]
    return next((text for text in pieces if parse(text)), "")


def _arguments(**values: str) -> JsonObject:
    return {**values}


def _fill(label: str, text: str) -> Call:
    return "fill", _arguments(label=label, text=text)


def _press(name: str) -> Call:
    return "click", _arguments(name=name, role="button")


def _follow(name: str) -> Call:
    return "click", _arguments(name=name, role="link")


def _sign_in(address: str, word: str) -> list[Call]:
    return [
        *(_follow("Sign in"), _fill("E-mail address", address), _fill("Password", word)),
        _press("Sign in"),
    ]


def _remembers(request: ChatRequest) -> bool:
    """Whether something that was learnt speaks of the quantity."""
    told = [piece for piece in given(request) if not parse(piece) and "Page: " not in piece]
    return any(re.search(r"(?i)quantity .{0,60}\bbefore\b", text) for text in told)


def _bethinks(request: ChatRequest) -> bool:
    """Whether it looks again by itself, once it has seen the cart."""
    seed = request.sampling.seed
    return seed is not None and derive_uniform("quantity", seed) < REMEMBERS


def _miscounted(asked: Sequence[Clause], text: str) -> list[Call] | None:
    """What puts the first wrong quantity of the last cart right; None where all are right."""
    for clause in asked:
        if clause.predicate != "in_cart":
            continue
        pattern = rf'spinbutton "(Quantity of {re.escape(clause.values["product"])}, ([^"]+))"'
        there = re.findall(rf"{pattern}[^\n]*: (\d+)", text)
        if there and there[-1][2] != clause.values["count"]:
            label, size, _ = there[-1]
            update = f"Update {clause.values['product']}, {size}"
            return [_fill(label, clause.values["count"]), _press(update)]
    return None


def _skill(tools: Sequence[ToolSpec], clause: Clause) -> Call | None:
    """A skill that takes a product alone and says that it brings this about."""
    for tool in tools:
        properties = tool.parameters.get("properties")
        if "skill" not in tool.description[:20].lower() or clause.predicate not in tool.name:
            continue
        if isinstance(properties, dict) and list(properties) == ["product"]:
            return tool.name, _arguments(product=clause.values["product"])
    return None
