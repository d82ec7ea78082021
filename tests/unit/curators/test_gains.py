"""What a skill promises: fields that follow its parameters, and nothing that varied by itself."""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue

from agentlab.curators.examples import Example
from agentlab.curators.gains import clause_effects
from agentlab.types import JsonObject


def example(bound: JsonObject, before: JsonObject, after: JsonObject) -> Example:
    return Example("done", bound, (), (), before, after, "task", "attempt", "start")


def saved(user: str, name: str, others: list[JsonValue]) -> Example:
    row: JsonObject = {"customer": user, "product": name}
    return example(
        {"product": {"name": name}},
        {"user": user, "wishes": [*others]},
        {"user": user, "wishes": [*others, row]},
    )


def holds(condition: str, final: JsonObject, **given: JsonValue) -> bool:
    return cast("bool", eval(condition, {"final": final, **given}))


def test_a_field_that_repeats_a_single_fact_follows_it() -> None:
    rows = [
        saved("ann@x.org", "Oak Chair", []),
        saved("bob@x.org", "Ash Stool", [{"customer": "x"}]),
    ]
    (said,) = clause_effects(rows)
    assert said == '{"customer": final["user"], "product": product["name"]} in final["wishes"]'
    assert holds(said, rows[0].after, product={"name": "Oak Chair"})
    assert not holds(said, rows[0].before, product={"name": "Oak Chair"})
    assert not holds(said, rows[0].after, product={"name": "Ash Stool"})


def test_what_varied_is_not_promised_and_what_stayed_is() -> None:
    def cancelled(number: str, total: int) -> Example:
        def row(status: str) -> JsonObject:
            return {"number": number, "total": total, "status": status}

        return example(
            {"order": {"number": number}}, {"orders": [row("packed")]}, {"orders": [row("gone")]}
        )

    (said,) = clause_effects([cancelled("17", 900), cancelled("18", 50), cancelled("29", 7)])
    assert said == (
        'any(row.get("number") == order["number"] and row.get("status") == "gone" '
        'for row in final["orders"])'
    )


def test_what_the_same_thing_was_before_is_not_promised() -> None:
    def row(number: str, status: str) -> JsonObject:
        return {"number": number, "by": "card", "for": "ann", "status": status}

    def cancelled(number: str) -> Example:
        other = row("99", "packed")
        return example(
            {"order": {"number": number}},
            {"user": "ann", "orders": [row(number, "packed"), other]},
            {"user": "ann", "orders": [row(number, "gone"), other]},
        )

    (said,) = clause_effects([cancelled("17"), cancelled("18")])
    assert said == (
        'any(row.get("for") == final["user"] and row.get("number") == order["number"] '
        'and row.get("status") == "gone" for row in final["orders"])'
    )

    def preferred(label: str) -> Example:
        def place(label: str, *, first: bool) -> JsonObject:
            return {"for": "ann", "label": label, "city": "Ash", "first": first}

        was: list[JsonValue] = [place("Home", first=True), place(label, first=False)]
        now: list[JsonValue] = [place("Home", first=False), place(label, first=True)]
        return example(
            {"place": {"label": label}}, {"user": "ann", "at": was}, {"user": "ann", "at": now}
        )

    (said,) = clause_effects([preferred("Loft"), preferred("Mill")])
    assert said == (
        'any(row.get("first") == True and row.get("for") == final["user"] '
        'and row.get("label") == place["label"] for row in final["at"])'
    )

    def moved(number: str) -> Example:
        gone, new = row(number, "gone"), row(number, "gone")
        new["at"] = "shelf"
        return example({"order": {"number": number}}, {"orders": [gone]}, {"orders": [new]})

    # Another kind of thing stands there now: all of it is new.
    (said,) = clause_effects([moved("17"), moved("18")])
    assert '"by": "card"' in said or 'row.get("by") == "card"' in said


def test_a_fact_that_becomes_what_a_parameter_says() -> None:
    rows = [
        example({"who": {"mail": mail, "key": "k"}}, {"user": None}, {"user": mail})
        for mail in ("ann@x.org", "bob@x.org")
    ]
    assert clause_effects(rows) == ('final["user"] == who["mail"]',)


def test_what_only_shows_is_promised_where_nothing_else_is() -> None:
    def seen(name: str) -> tuple[JsonObject, JsonObject]:
        return {"page": {"headings": ["Home"]}}, {"page": {"headings": ["Home", name]}}

    names = ("Oak Chair", "Ash Stool")
    rows = [example({"product": {"name": n}}, *seen(n)) for n in names]
    assert clause_effects(rows) == ('product["name"] in final["page"]["headings"]',)
    both = [
        row._replace(before={**row.before, "at": None}, after={**row.after, "at": name})
        for row, name in zip(rows, names, strict=True)
    ]
    assert clause_effects(both) == ('final["at"] == product["name"]',)


def test_numbers_alike_by_chance_are_told_apart_by_the_other_examples() -> None:
    def put(number: int, stars: int) -> Example:
        bound: JsonObject = {"quantity": {"number": number}, "stars": {"number": stars}}
        return example(bound, {"cart": []}, {"cart": [{"quantity": number, "kind": "chair"}]})

    (said,) = clause_effects([put(2, 2), put(3, 1)])
    assert said == '{"kind": "chair", "quantity": quantity["number"]} in final["cart"]'


def test_nothing_is_promised_where_nothing_follows_the_parameters() -> None:
    rows = [example({"x": {"name": n}}, {"log": []}, {"log": ["done"]}) for n in ("a", "b")]
    assert clause_effects(rows) == ()
