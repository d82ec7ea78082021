"""A shop changes its face: which learnt skills break, are found, and are mended, and how long.

A library for the shop's skin `a`, written as a curator would propose it, is verified there by the
gates of admission; then `agentlab skills verify` runs against skin `b`, where everything is called
and laid out differently and works the same. Nothing tells the verification what has changed.

    python examples/drift.py [--skills sign_in ...] [--hone search|none|MODEL] [--replays 5]
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from agentlab.environments.registration import make_environment
from agentlab.graph.canaries import CANARY, verify_library
from agentlab.graph.practice import toolset_name
from agentlab.protocols import HasGrammar, HasTasks
from agentlab.records import Records, Workspace
from agentlab.statistics import wilson
from agentlab.types import Clause, EnvironmentRef, JsonObject, Parameter, Skill, skill_id
from agentlab.types.report import CanaryReport

NUMBERS = ("stars", "percent", "quantity")
TASKS = 40
MINE = "any(row['customer'] == final['user'] and {} for row in final['{}'])"
SEEN = (
    "any(final['page']['path'] == '/product/' + row['slug'] and row['name'] == product['name']"
    " for row in final['products'])"
)
FIND = (
    "fill(label='Search products', text=product['name'])",
    "click(role='button', name='Search')",
    "click(role='link', name=product['name'])",
)
EDIT = (
    "fill(label='Find a product', text=product['name'])",
    "click(role='button', name='Find product')",
    "click(role='link', name=f'Edit {product[\"name\"]}')",
)


def account(part: str) -> tuple[str, str]:
    """The way to a part of the customer's account."""
    return ("click(role='link', name='Your account')", f"click(role='link', name='{part}')")


def manage(part: str) -> tuple[str, str]:
    """The way to a part of the staff's side."""
    return ("click(role='link', name='Manage shop')", f"click(role='link', name='{part}')")


class Written(NamedTuple):
    """A skill as somebody wrote it down."""

    home: str
    """The family of start states in which it was seen to work."""
    clause: str
    """What it achieves, with the parameter for each argument: `saved(product=product)`."""
    calls: tuple[str, ...]
    check: str


SHOP: dict[str, Written] = {
    "sign_in": Written(
        "visitor",
        "signed_in(customer=customer)",
        (
            "click(role='link', name='Sign in')",
            "fill(label='E-mail address', text=customer['email'])",
            "fill(label='Password', text=customer['password'])",
            "click(role='button', name='Sign in')",
        ),
        "final['user'] == customer['email']",
    ),
    "open_product": Written("visitor", "viewing(product=product)", FIND, SEEN),
    "open_by_address": Written(
        "visitor",
        "viewing(product=product)",
        ("goto(url='/product/' + product['name'].lower().replace(' ', '-'))",),
        SEEN,
    ),
    "save_for_later": Written(
        "member",
        "saved(product=product)",
        (*FIND, "click(role='button', name=f'Save {product[\"name\"]} for later')"),
        MINE.format("row['product'] == product['name']", "wishes"),
    ),
    "set_phone": Written(
        "member",
        "phone_set(phone=phone)",
        (
            *account("Personal details"),
            "fill(label='Phone number', text=phone['number'])",
            "click(role='button', name='Save details')",
        ),
        "any(row['email'] == final['user'] and row['phone'] == phone['number']"
        " for row in final['customers'])",
    ),
    "save_address": Written(
        "member",
        "address_saved(address=address)",
        (
            *account("Addresses"),
            "click(role='link', name='Add an address')",
            "fill(label='Address name', text=address['label'])",
            "fill(label='Recipient', text=address['label'])",
            "fill(label='Street and number', text=address['street'])",
            "fill(label='City', text=address['city'])",
            "fill(label='Postcode', text=address['postcode'])",
            "click(role='button', name='Save address')",
        ),
        MINE.format("all(row[part] == address[part] for part in address)", "addresses"),
    ),
    "prefer_address": Written(
        "member",
        "default_address(place=place)",
        (
            *account("Addresses"),
            "click(role='button', name=f'Make {place[\"label\"]} the default')",
        ),
        MINE.format("row['label'] == place['label'] and row['preferred']", "addresses"),
    ),
    "review": Written(
        "member",
        "reviewed(product=product, stars=stars)",
        (
            *FIND,
            "select(label='Your rating in stars', option=str(stars['number']))",
            "fill(label='Your review', text='Just what I was looking for.')",
            "click(role='button', name='Post review')",
        ),
        MINE.format(
            "row['product'] == product['name'] and row['stars'] == stars['number']", "reviews"
        ),
    ),
    "add_code": Written(
        "manager",
        "code_added(code=code, percent=percent)",
        (
            *manage("Discount codes"),
            "fill(label='New code', text=code['code'])",
            "fill(label='Percent off', text=str(percent['number']))",
            "click(role='button', name='Add code')",
        ),
        "any(row['code'] == code['code'] and row['percent'] == percent['number']"
        " and row['active'] for row in final['discounts'])",
    ),
    "set_price": Written(
        "manager",
        "priced(product=product, price=price)",
        (
            *manage("Products"),
            *EDIT,
            "fill(label='Price', text=price['amount'])",
            "click(role='button', name='Save product')",
        ),
        "any(row['name'] == product['name'] and row['price'] == int(price['amount']"
        ".replace('.', '')) for row in final['products'])",
    ),
    "take_off_sale": Written(
        "manager",
        "withdrawn(product=product)",
        (
            *manage("Products"),
            *EDIT,
            "check(label='On sale', checked=False)",
            "click(role='button', name='Save product')",
        ),
        "any(row['name'] == product['name'] and not row['active'] for row in final['products'])",
    ),
}
"""By name. Nearly everything is named by role and label, one goes by the address of a page."""


def skill_of(name: str, toolset: str, source_task: str) -> Skill:
    """One of them, as a curator proposes it."""
    written = SHOP[name]
    predicate, _, rest = written.clause.rstrip(")").partition("(")
    types = dict(pair.split("=") for pair in rest.split(", "))
    takes = "".join(f", {parameter}: dict" for parameter in types)
    body = "".join(f"    env.{call}\n" for call in written.calls)
    says = f"Bring about {written.clause}."
    source = (
        f'def {name}(env, *{takes}):\n    """{says}\n\n    Precondition: what it names is there.\n'
        f'    Effect: {predicate} holds of it.\n    """\n{body}'
    )
    arguments: JsonObject = {parameter: parameter for parameter in types}
    return Skill(
        id=skill_id("store", name, 1, source),
        name=name,
        environment="store",
        toolset=toolset,
        source=source,
        parameters=tuple(
            Parameter(name=each, type="number" if each in NUMBERS else each) for each in types
        ),
        achieves=Clause(predicate=predicate, arguments=arguments),
        summary=says,
        effect_source=f"def check(initial, final, *{takes}):\n    return {written.check}\n",
        effect=(f"{predicate} holds",),
        tools=tuple(sorted({call.partition("(")[0] for call in written.calls})),
        origin="model",
        source_tasks=(source_task,),
    )


def shop(skin: str) -> EnvironmentRef:
    """The shop in a skin, without tasks that ask for an answer."""
    return EnvironmentRef(name="store", options={"skin": skin, "questions": False})


def hand_in(workspace: Path, names: Sequence[str]) -> None:
    """Put the skills and the task of each on record; none serves before it is verified."""
    world = make_environment(shop("a"))
    assert isinstance(world, HasGrammar)
    assert isinstance(world, HasTasks)
    toolset, rule = toolset_name(world.tools), world.split_rule
    known = {task.template: task for task in world.tasks("practice", TASKS, 0)}
    with Records.open(Workspace.open(workspace)) as records:
        records.runs.create("handed-in", config={}, versions={}, seed=0)
        tasks = [known[f"{SHOP[n].home}: {SHOP[n].clause.partition('(')[0]}"] for n in names]
        records.tasks.add_proposals("handed-in", 0, [(task, None) for task in tasks], rule)
        for name, task in zip(names, tasks, strict=True):
            skill = skill_of(name, toolset, task.id)
            reason = f"{CANARY}handed in, not verified yet"
            records.items.save_skill(skill, status="quarantined", reason=reason)
        records.runs.set_status("handed-in", "finished")


def tell(title: str, report: CanaryReport) -> None:
    """One verification, skill by skill."""
    print(f"\n{title}: {report.replays} replays, {report.steps} steps, {report.seconds:.0f} s")
    for line in report.skills:
        by = f"by {line.by}" if line.by else ""
        print(
            f"  {line.name:16} {line.outcome:10} {by:10} {line.seconds:5.0f} s  {line.reason[:90]}"
        )


def share(label: str, part: int, n: int) -> str:
    """A share with its n and 95 % interval."""
    low, high = wilson(part, n)
    return (
        f"  {label:38} {part / n:.2f} ({low:.2f} to {high:.2f}), n={n}" if n else f"  {label}: n=0"
    )


def still_works(workspace: Path, names: Sequence[str], seed: int, config: JsonObject) -> set[str]:
    """Which of the library's skills hold on skin b, asked without changing what is served.

    The same gates in a copy of the workspace: what a verification missed is found by it.
    """
    with TemporaryDirectory() as place:
        shutil.copytree(workspace, Path(place) / "copy")
        report = verify_library(
            Path(place) / "copy", shop("b"), names=names, hone="none", seed=seed, config=config
        )
    return {line.name for line in report.skills if line.outcome in ("holds", "restored")}


def main() -> None:
    """Verify on skin a, twice, then on skin b."""
    parser = argparse.ArgumentParser(description="Drift: skills of a shop that changes its face.")
    parser.add_argument("--skills", nargs="*", default=[*SHOP], choices=[*SHOP], metavar="NAME")
    parser.add_argument("--hone", default="search", help="search, none or a chat model")
    parser.add_argument("--base-url", default="", help="of the chat model's endpoint")
    parser.add_argument("--replays", type=int, default=5, help="that a skill must pass")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config: JsonObject = {
        "endpoint": {"base_url": given.base_url},
        "admission": {"replays": given.replays},
    }
    with TemporaryDirectory() as place:
        workspace = Path(os.environ.get("AGENTLAB_WORKSPACE") or place)
        hand_in(workspace, given.skills)
        admitted = verify_library(workspace, shop("a"), hone="none", seed=given.seed, config=config)
        tell("Admission on skin a", admitted)
        names = [line.name for line in admitted.skills if line.outcome == "restored"]
        if not names:
            raise SystemExit("\nNo skill was admitted on skin a, so there is nothing to compare.")
        again = verify_library(
            workspace, shop("a"), names=names, hone="none", seed=given.seed, config=config
        )
        tell("Skin a against itself", again)
        drift = verify_library(
            workspace, shop("b"), names=names, hone=given.hone, seed=given.seed, config=config
        )
        tell("Skin b", drift)
        left = [line.name for line in drift.skills if line not in drift.broken]
        after = still_works(workspace, left, given.seed + 1, config) if left else set[str]()
    found = len(drift.found)
    mended = sum(line.outcome == "mended" for line in drift.skills)
    print(f"\nadmitted on skin a: {len(names)} of {len(given.skills)}")
    print(share("false alarms on skin a", len(again.found), len(names)))
    print(share("found broken on skin b", found, len(names)))
    print(share(f"mended of those, by {given.hone}", mended, found))
    print(share("served after it, and hold once more", len(after), len(left)))
    each = drift.seconds / len(names)
    print(f"  time on skin b: {drift.seconds:.0f} s, {each:.0f} s a skill")


if __name__ == "__main__":
    main()
