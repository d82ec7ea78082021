"""The APIs' functions as tools: their JSON schemas, made from the package's own documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import cast

from pydantic import JsonValue

from agentlab.environments import probing
from agentlab.environments.bfcl import package
from agentlab.types import JsonObject, ToolSpec

READ_ONLY = frozenset(
    (
        *("cat", "diff", "du", "find", "grep", "ls", "pwd", "sort", "tail", "wc"),
        *("absolute_value", "add", "divide", "imperial_si_conversion", "logarithm", "max_value"),
        *("mean", "min_value", "multiply", "percentage", "power", "round_number"),
        *("si_unit_conversion", "square_root", "standard_deviation", "subtract", "sum_values"),
        *("get_message_stats", "get_user_id", "list_users", "message_get_login_status"),
        *("search_messages", "view_messages_sent", "get_ticket", "get_user_tickets"),
        *("ticket_get_login_status", "filter_stocks_by_price", "get_account_info"),
        *("get_available_stocks", "get_current_time", "get_order_details", "get_order_history"),
        *("get_stock_info", "get_symbol_by_name", "get_transaction_history", "get_watchlist"),
        *("notify_price_change", "trading_get_login_status", "compute_exchange_rate"),
        *("contact_customer_support", "get_all_credit_cards", "get_booking_history"),
        *("get_budget_fiscal_year", "get_credit_card_balance", "get_flight_cost"),
        *("get_nearest_airport_by_city", "list_all_airports", "retrieve_invoice"),
        *("travel_get_login_status", "verify_traveler_information", "get_tweet"),
        *("get_tweet_comments", "get_user_stats", "get_user_tweets", "list_all_following"),
        *("posting_get_login_status", "search_tweets", "check_tire_pressure", "display_log"),
        *("displayCarStatus", "estimate_distance", "estimate_drive_feasibility_by_mileage"),
        *("find_nearest_tire_shop", "gallon_to_liter", "get_zipcode_based_on_city"),
        *("liter_to_gallon", "get_outside_temperature_from_weather_com"),
    )
)
"""What changes nothing, the state of a random generator included; the documents do not say."""

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


@cache
def tools_of(apis: Sequence[str]) -> tuple[ToolSpec, ...]:
    """The tools of these APIs, in the package's order."""
    return tuple(_tool(document) for api in apis for document in package.documents(api))


def fault(tool: ToolSpec, arguments: JsonObject) -> str | None:
    """Why a call does not fit the tool's schema, or None."""
    return probing.mismatch(tool.parameters, arguments)


def _tool(document: JsonObject) -> ToolSpec:
    name = str(document["name"])
    described = cast("JsonObject", document["parameters"])
    properties = cast("dict[str, JsonObject]", described.get("properties") or {})
    return ToolSpec(
        name=name,
        description=_description(str(document["description"])),
        parameters={
            "type": "object",
            "properties": {key: _parameter(name, key, v) for key, v in properties.items()},
            "required": described.get("required") or [],
            "additionalProperties": False,
        },
        effect="none" if name in READ_ONLY else "changes",
    )


def _description(text: str) -> str:
    """Without the sentence on the API as a whole, which each function repeats."""
    return text.rpartition("Tool description:")[2].strip() or text


def _parameter(tool: str, name: str, described: JsonObject) -> JsonObject:
    schema = _schema(described)
    # Some right answers are not of the type that the document says; what is right is allowed.
    kind = schema.get("type")
    for value in package.said_values(tool, name):
        if isinstance(kind, str) and probing.mismatch({"type": kind}, value):
            schema["type"] = [kind, _type_of(value)]
    return schema


def _schema(described: JsonObject) -> JsonObject:
    schema: JsonObject = {}
    kind = str(described.get("type", "any"))
    kind_said = _TYPES.get(kind, kind)
    if kind_said is not None:
        schema["type"] = kind_said
    text = str(described.get("description", "")).strip()
    if text:
        schema["description"] = text
    default = described.get("default")
    if default is not None and default != "None":
        schema["default"] = default
    items = described.get("items")
    if isinstance(items, dict):
        schema["items"] = _schema(items)
    inner = described.get("properties")
    if isinstance(inner, dict):
        schema["properties"] = {k: _schema(cast("JsonObject", v)) for k, v in inner.items()}
    return schema


def _type_of(value: JsonValue) -> str:
    return next(name for name in probing.TYPES if not probing.mismatch({"type": name}, value))
