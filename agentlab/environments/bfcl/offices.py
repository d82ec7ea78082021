"""What a task can say of tickets, messages, posts and trades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentlab.environments.bfcl.vocabulary import (
    Note,
    Seen,
    Subject,
    fact,
    items,
    member,
    pick,
    rows,
    states,
    table,
)
from agentlab.types import JsonObject

TEXTS = (
    ("comment", "comment_content"),
    ("post_tweet", "content"),
    ("send_message", "message"),
    ("create_ticket", "title"),
    ("resolve_ticket", "resolution"),
)
LOGINS = (("ticket_login", "username"), ("authenticate_twitter", "username"))
AMOUNTS = tuple(range(150, 9000, 150))


def _ticket_facts(now: JsonObject) -> JsonObject:
    queue = rows(now.get("ticket_queue"))
    return {
        "ticket user": now.get("current_user"),
        "ticket states": [pick(row, ticket="id", status="status") for row in queue],
        "resolutions": [
            pick(row, ticket="id", text="resolution") for row in queue if row.get("resolution")
        ],
        "ticket titles": [pick(row, title="title") for row in queue],
    }


def _ticket_seen(now: JsonObject) -> Iterator[Seen]:
    for row in rows(now.get("ticket_queue")):
        yield Seen("ticket", row.get("id"))
    if now.get("current_user"):
        yield Seen("account", now["current_user"])
    yield from states({"ticket": ("Closed", "Resolved")})


TICKETS = Subject(
    api="TicketAPI",
    predicates=(
        member("ticket states", ticket="ticket", status="ticket state"),
        member("resolutions", ticket="ticket", text="text"),
        member("ticket titles", title="text"),
        fact("ticket user", "account", "account"),
    ),
    takes={
        "create_ticket": {"title": "text"},
        "close_ticket": {"ticket_id": "ticket"},
        "resolve_ticket": {"ticket_id": "ticket", "resolution": "text"},
        "ticket_login": {"username": "account", "password": "password"},
        "logout": {},
    },
    facts=_ticket_facts,
    seen=_ticket_seen,
    notes=(
        Note("text", TEXTS, number=4),
        Note("account", LOGINS),
        Note("password", (("ticket_login", "password"),), number=1),
    ),
)


def _message_facts(now: JsonObject) -> JsonObject:
    sent = [pair for row in rows(now.get("inbox")) for pair in row.items()]
    return {
        "message user": now.get("current_user"),
        "messages": [{"receiver": receiver, "text": text} for receiver, text in sent],
        "contacts": [{"person": person} for person in table(now.get("user_map"))],
    }


def _message_seen(now: JsonObject) -> Iterable[Seen]:
    return [Seen("user", number) for number in table(now.get("user_map")).values()]


MESSAGES = Subject(
    api="MessageAPI",
    predicates=(
        member("messages", receiver="user", text="text"),
        member("contacts", person="person"),
        fact("message user", "user", "user"),
    ),
    takes={
        "message_login": {"user_id": "user"},
        "send_message": {"receiver_id": "user", "message": "text"},
        "delete_message": {"receiver_id": "user"},
        "add_contact": {"user_name": "person"},
    },
    facts=_message_facts,
    seen=_message_seen,
    notes=(
        Note("text", TEXTS, number=4),
        Note(
            "person",
            (
                ("add_contact", "user_name"),
                ("verify_traveler_information", "first_name"),
                ("register_credit_card", "cardholder_name"),
            ),
            number=3,
        ),
    ),
)


def _post_facts(now: JsonObject) -> JsonObject:
    user = str(now.get("username"))
    comments = table(now.get("comments"))
    return {
        "posting user": user if now.get("authenticated") else None,
        "followed accounts": [{"account": name} for name in items(now.get("following_list"))],
        "posts": [pick(row, text="content") for row in rows(now.get("tweets"))],
        "comments": [
            {"post": int(post), "text": row.get("content")}
            for post, inner in comments.items()
            for row in rows(inner)
            if post.isdigit()
        ],
        "reposts": [{"post": post} for post in items(table(now.get("retweets")).get(user))],
    }


def _post_seen(now: JsonObject) -> Iterator[Seen]:
    yield Seen("login", now.get("username"))
    yield Seen("password", now.get("password"))
    for row in rows(now.get("tweets")):
        yield Seen("post", row.get("id"))
    for name in items(now.get("following_list")):
        yield Seen("account", name)


POSTS = Subject(
    api="TwitterAPI",
    predicates=(
        member("posts", text="text"),
        member("comments", post="post", text="text"),
        member("reposts", post="post"),
        member("followed accounts", acnumber="account"),
        fact("posting user", "login", "login"),
    ),
    takes={
        "authenticate_twitter": {"username": "login", "password": "password"},
        "post_tweet": {"content": "text"},
        "retweet": {"tweet_id": "post"},
        "comment": {"tweet_id": "post", "comment_content": "text"},
        "follow_user": {"username_to_follow": "account"},
        "unfollow_user": {"username_to_unfollow": "account"},
    },
    facts=_post_facts,
    seen=_post_seen,
    notes=(
        Note("text", TEXTS, number=4),
        Note("account", LOGINS, number=3),
    ),
)


def _trade_facts(now: JsonObject) -> JsonObject:
    orders = rows(now.get("orders"))
    moves = rows(now.get("transaction_history"))
    return {
        "trading": True if now.get("authenticated") else None,
        "watched stocks": [{"stock": name} for name in items(now.get("watch_list"))],
        "order states": [pick(row, order="id", status="status") for row in orders],
        "orders": [pick(row, side="order_type", stock="symbol", amount="amount") for row in orders],
        "deposits": [pick(row, amount="amount") for row in moves if row.get("type") == "deposit"],
        "withdrawals": [
            pick(row, amount="amount") for row in moves if row.get("type") == "withdrawal"
        ],
    }


def _trade_seen(now: JsonObject) -> Iterator[Seen]:
    for name in table(now.get("stocks")):
        yield Seen("stock", name)
    for row in rows(now.get("orders")):
        yield Seen("order", row.get("id"))
    yield from states({"order": ("Cancelled",), "side": ("Buy", "Sell")})


TRADES = Subject(
    api="TradingBot",
    predicates=(
        member("watched stocks", stock="stock"),
        member("orders", side="side state", stock="stock", amount="amount"),
        member("order states", order="order", status="order state"),
        member("deposits", amount="amount"),
        member("withdrawals", amount="amount"),
    ),
    takes={
        "trading_login": {"username": "account", "password": "password"},
        "trading_logout": {},
        "add_to_watchlist": {"stock": "stock"},
        "remove_stock_from_watchlist": {"symbol": "stock"},
        "cancel_order": {"order_id": "order"},
        "place_order": {
            "order_type": ("Buy", "Sell"),
            "symbol": "stock",
            "price": "price",
            "amount": "amount",
        },
        "fund_account": {"amount": "amount"},
        "withdraw_funds": {"amount": "amount"},
    },
    facts=_trade_facts,
    seen=_trade_seen,
    notes=(
        Note("amount", values=AMOUNTS, number=3),
        Note("price", values=(1.25, 2.5, 3.75, 4.5, 5.25), number=1),
        Note("account", (("ticket_login", "username"),), number=1),
        Note("password", (("ticket_login", "password"),), number=1),
    ),
)
