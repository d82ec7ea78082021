"""The server's own three tools, which no skill can take the name of: search, begin, feedback."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field, ValidationError

from agentlab.types import Frozen, JsonObject

SEARCH = "search_skills"
BEGIN = "begin"
FEEDBACK = "feedback"
MOST_SEED = 2**53


class SearchArguments(Frozen):
    """Find the verified skills and the advice that fit what is to be done, best first."""

    query: Annotated[str, Field(max_length=4000, description="What is to be done, in words.")]
    limit: Annotated[int, Field(ge=1, le=20, description="Skills at most.")] = 5


class BeginArguments(Frozen):
    """Put the environment into a start state, and show it. Skills then act there, one at a time."""

    instruction: Annotated[
        str,
        Field(
            max_length=4000,
            description="What is to be done, as the environment words it; may be left out.",
        ),
    ] = ""
    setup: Annotated[
        str | None,
        Field(max_length=200, description="A family of start states, where there are several."),
    ] = None
    seed: Annotated[
        int, Field(ge=0, le=MOST_SEED, description="Which start state of the family.")
    ] = 0


class FeedbackArguments(Frozen):
    """Say how a call turned out for the user; it counts where no effect check decided."""

    call: Annotated[
        str, Field(max_length=100, description="The id that the call's answer gave as `call`.")
    ]
    success: Annotated[bool, Field(description="Whether it did what the user wanted.")]
    comment: Annotated[str, Field(max_length=2000, description="Why, in the user's words.")] = ""


OWN: dict[str, type[Frozen]] = {
    SEARCH: SearchArguments,
    BEGIN: BeginArguments,
    FEEDBACK: FeedbackArguments,
}


def description_of(name: str) -> str:
    """What the tool does."""
    return " ".join((OWN[name].__doc__ or "").split())


def schema_of(name: str) -> JsonObject:
    """The JSON schema of the tool's arguments."""
    return cast("JsonObject", OWN[name].model_json_schema())


class WrongArgumentsError(Exception):
    """Arguments that do not fit; the text says where."""


def read_arguments(name: str, arguments: dict[str, Any]) -> Frozen:
    """The arguments of an own tool.

    Raises:
        WrongArgumentsError: they do not fit.
    """
    try:
        return OWN[name].model_validate(arguments, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:3]
        told = "; ".join(f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in found)
        raise WrongArgumentsError(told) from None
