"""What a state of the shop says, and when what was asked for has come about.

The one place that decides it: grammar, oracle and every verifier read it, verifiers as source
text (`verifying.source_of`). So what follows the imports is plain code over JSON, without any
import, private name or state of its own.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

GONE = {"cart_free_of": "in_cart", "address_gone": "address_saved", "unsaved": "saved"}
"""Predicates that ask for the absence of what another one says."""


def facts(state: Row) -> list[tuple[str, Row]]:
    """Everything that holds: predicate, and parameter to the thing's properties."""
    found: list[tuple[str, Row]] = []
    user = state["user"]
    slugs = {row["slug"]: row["name"] for row in state["products"]}
    page: Row = state.get("page") or {}
    path = str(page.get("path", ""))
    if path.startswith("/product/") and path[9:] in slugs:
        found.append(("viewing", {"product": {"name": slugs[path[9:]]}}))
    found += cart_facts(state) + catalogue_facts(state)
    for row in state["customers"]:
        if row["email"] == user:
            found.append(("signed_in", {"customer": {"name": row["name"]}}))
            found.append(("phone_set", {"phone": {"number": row["phone"]}}))
    for row in state["addresses"]:
        if row["customer"] == user:
            found.append(("address_saved", {"address": row}))
            if row["preferred"]:
                found.append(("default_address", {"place": row}))
    for row in state["wishes"]:
        if row["customer"] == user:
            found.append(("saved", {"product": {"name": row["product"]}}))
    for row in state["reviews"]:
        if row["customer"] == user:
            thing = {"name": row["product"]}
            found.append(("reviewed", {"product": thing, "stars": {"number": row["stars"]}}))
    return found + order_facts(state)


def cart_facts(state: Row) -> list[tuple[str, Row]]:
    """What holds of the cart."""
    found: list[tuple[str, Row]] = []
    for row in state["cart"]:
        thing = {"name": row["product"], "size": row["size"]}
        found.append(("in_cart", {"product": thing, "quantity": {"number": row["quantity"]}}))
    if state["discount"]:
        found.append(("discounted", {"code": {"code": state["discount"]}}))
    return found


def catalogue_facts(state: Row) -> list[tuple[str, Row]]:
    """What holds of products and discount codes."""
    found: list[tuple[str, Row]] = []
    for row in state["products"]:
        price = f"{row['price'] // 100}.{row['price'] % 100:02d}"
        found.append(("priced", {"product": {"name": row["name"]}, "price": {"amount": price}}))
        if not row["active"]:
            found.append(("withdrawn", {"product": {"name": row["name"]}}))
    for row in state["stock"]:
        thing = {"name": row["product"], "size": row["size"]}
        found.append(("stocked", {"product": thing, "count": {"number": row["count"]}}))
    for row in state["discounts"]:
        code = {"code": row["code"]}
        if row["active"]:
            found.append(("code_added", {"code": code, "percent": {"number": row["percent"]}}))
        else:
            found.append(("code_ended", {"code": code}))
    return found


def order_facts(state: Row) -> list[tuple[str, Row]]:
    """What holds of orders and returns."""
    found: list[tuple[str, Row]] = []
    orders = {row["number"]: row for row in state["orders"]}
    words = {"cancelled": "cancelled", "shipped": "shipped", "delivered": "arrived"}
    for row in state["orders"]:
        if row["status"] in words:
            found.append((words[row["status"]], {"order": {"number": row["number"]}}))
    for line in state["order_lines"]:
        order = orders[line["order"]]
        if order["customer"] != state["user"] or order["status"] == "cancelled":
            continue
        thing = {"name": line["product"], "size": line["size"]}
        amount = {"number": line["quantity"]}
        way = {"way": order["delivery"]}
        found.append(("ordered", {"product": thing, "quantity": amount, "delivery": way}))
        for row in state["addresses"]:
            same = all(row[part] == order[part] for part in ("street", "city", "postcode"))
            if same and row["customer"] == order["customer"]:
                found.append(("ordered_to", {"product": thing, "place": row}))
    for row in state["returns"]:
        about = {"product": {"name": row["product"]}, "order": {"number": row["order"]}}
        if orders[row["order"]]["customer"] == state["user"]:
            found.append(("returned", {**about, "reason": {"text": row["reason"]}}))
        if row["status"] != "requested":
            found.append((f"return_{row['status']}", about))
    return found


def fits(thing: Any, wanted: Any) -> bool:
    """Whether a thing has all that a description says."""
    return all(name in thing and thing[name] == value for name, value in wanted.items())


def holds(clause: Row, state: Row) -> bool:
    """Whether a clause holds in a state, for some things that fit its descriptions."""
    predicate = clause["predicate"]
    asked = GONE.get(predicate, predicate)
    found = any(
        name == asked
        and all(fits(things[each], wanted) for each, wanted in clause["arguments"].items())
        for name, things in facts(state)
    )
    return found != (predicate in GONE)


def told(clause: Row, answer: str | None) -> bool:
    """Whether an answer says an amount, a number or a text, and none of the `others`."""
    wanted = clause["arguments"]["value"]
    text = " ".join(str(answer or "").lower().replace(",", "").split())
    said = "".join(letter if letter.isdigit() or letter == "." else " " for letter in text)
    numbers = [word.strip(".") for word in said.split() if word.strip(".")]
    if "amount" in wanted:
        return {word for word in numbers if "." in word} == {wanted["amount"]}
    if "number" in wanted:
        return {word for word in numbers if "." not in word} == {str(wanted["number"])}
    others = [str(other).lower() for other in wanted.get("others", [])]
    return str(wanted["text"]).lower() in text and not any(other in text for other in others)


def changed(name: str, initial: Row, final: Row) -> list[Row]:
    """The members of a set that are in one state and not in the other."""
    before, after = initial[name], final[name]
    return [r for r in before if r not in after] + [r for r in after if r not in before]


def tidy(clauses: list[Row], initial: Row, final: Row) -> bool:
    """Whether nothing changed that was not asked for."""
    asked = {clause["predicate"] for clause in clauses}
    given = [clause["arguments"] for clause in clauses]
    names = {things["product"]["name"] for things in given if "product" in things}
    numbers = {things["order"]["number"] for things in given if "order" in things}
    codes = {things["code"]["code"] for things in given if "code" in things}
    labels = {thing["label"] for a in given for thing in a.values() if "label" in thing}
    bought = bool(asked & {"ordered", "ordered_to"})
    lying = {row["product"] for row in initial["cart"]}
    lying |= {row["product"] for row in initial["carts"]} if bought else set()
    moved = bool(asked & {"ordered", "cancelled", "return_accepted"})
    known = {row["number"] for row in initial["orders"]}
    fresh = {row["number"] for row in final["orders"]} - known
    place = "default_address" in asked
    return (
        all(
            r["product"] in names or (bought and r["product"] in lying)
            for r in changed("cart", initial, final)
        )
        and (initial["discount"] == final["discount"] or bool(asked & {"discounted", "ordered"}))
        and len(fresh) <= int(bought)
        and all(r["number"] in numbers | fresh for r in changed("orders", initial, final))
        and all(
            r["order"] in fresh and r["product"] in names | lying
            for r in changed("order_lines", initial, final)
        )
        and all(moved or r["product"] in names for r in changed("stock", initial, final))
        and all(r["name"] in names for r in changed("products", initial, final))
        and all(r["product"] in names for r in changed("wishes", initial, final))
        and all(r["product"] in names for r in changed("reviews", initial, final))
        and all(
            r["order"] in numbers and r["product"] in names
            for r in changed("returns", initial, final)
        )
        and all(r["code"] in codes for r in changed("discounts", initial, final))
        and all(place or r["label"] in labels for r in changed("addresses", initial, final))
        and ("phone_set" in asked or not changed("customers", initial, final))
    )


def met(clauses: list[Row], initial: Row, final: Row, answer: str | None) -> bool:
    """Whether all that was asked for has come about, and nothing else."""
    done = all(
        told(clause, answer) if clause["predicate"] == "answered" else holds(clause, final)
        for clause in clauses
    )
    return done and tidy(clauses, initial, final)
