"""Scopes as values: which names they take, and who reads what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.types import SHARED, Scope, scoped_id

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_@+-]{0,20}[A-Za-z0-9])?", fullmatch=True)


@given(tenant=NAMES, user=NAMES)
def test_a_path_comes_back_as_its_scope(tenant: str, user: str) -> None:
    for scope in (SHARED, Scope(tenant=tenant), Scope(tenant=tenant, user=user)):
        assert Scope.parse(scope.path) == scope
        assert scope.readable[0] == "" and scope.readable[-1] == scope.path
        assert scope.around(scope.level) == scope
        assert scope.around("shared") == SHARED


@given(tenant=NAMES, other=NAMES, user=NAMES)
def test_nobody_reads_beside_or_below(tenant: str, other: str, user: str) -> None:
    mine = Scope(tenant=tenant, user=user)
    assert mine.path not in Scope(tenant=tenant).readable
    assert mine.path not in SHARED.readable
    if other != tenant:
        theirs = Scope(tenant=other, user=user)
        assert not {theirs.path, other} & set(mine.readable)
        assert not mine.holds(theirs)
    assert Scope(tenant=tenant).holds(mine) and SHARED.holds(mine) and not mine.holds(SHARED)


@given(text=st.text(max_size=80))
def test_whatever_is_no_plain_name_is_refused(text: str) -> None:
    try:
        scope = Scope(tenant=text)
    except UsageError:
        return
    assert scope.path == text
    assert text.isascii() and ".." not in text and not set(text) & set("/\\ \n\0'\"")


@pytest.mark.parametrize("path", ["/", "/ann", "acme/", "a/b/c", "..", "a..b", "../x", "a b", "-a"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        Scope.parse(path)


def test_a_user_needs_a_tenant() -> None:
    with pytest.raises(UsageError, match="needs a tenant"):
        Scope(user="ann")
    with pytest.raises(UsageError, match="holds no one user"):
        Scope(tenant="acme").around("user")


def test_what_two_tenants_make_alike_are_two_items() -> None:
    acme, other = Scope(tenant="acme"), Scope(tenant="other")
    assert scoped_id(SHARED, "skill-1") == "skill-1"
    assert len({scoped_id(each, "skill-1") for each in (SHARED, acme, other)}) == 3
    assert scoped_id(acme, "skill-1").startswith("skill-")
