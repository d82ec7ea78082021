"""What a task in the shop names is shown as things, and what it does not name is not."""

from __future__ import annotations

import pytest

from agentlab.envs.store.grammar import StoreGrammar
from agentlab.envs.store.picks import clause
from agentlab.envs.store.tasks import store_tasks
from agentlab.envs.store.things import named_things, offered_things, said_of
from agentlab.envs.store.world import SETUPS, Setup, make_world
from agentlab.types import Mission, Task, canonical_json, satisfies

GRAMMAR = StoreGrammar()


def signing_in(seed: int) -> Task:
    who = clause("signed_in", customer={"name": make_world(seed).shopper.name})
    return GRAMMAR.compose(Mission(groups=((who,),)), "visitor", seed)


def test_every_argument_of_every_task_is_one_thing() -> None:
    for made in store_tasks("practice", 60):
        task = made.task
        if task.mission is None:
            continue
        things = named_things(task)
        assert len({canonical_json(each.reference) for each in things}) == len(things)
        for one in task.mission.clauses:
            for said in one.arguments.values():
                assert sum(satisfies(each, said) for each in things) == 1, (task.instruction, said)


def test_who_signs_in_is_known_by_what_the_instruction_says_alone() -> None:
    task = signing_in(3)
    (who,) = named_things(task)
    person = make_world(3).shopper
    assert who.reference == {
        "name": person.name,
        "email": person.email,
        "password": person.password,
    }
    untold = task.model_copy(update={"instruction": f"Sign in as {person.name}."})
    assert [each.reference for each in named_things(untold)] == [{"name": person.name}]


def test_values_go_by_what_the_task_calls_them() -> None:
    task = signing_in(3)
    said = said_of(task, named_things(task))
    person = make_world(3).shopper
    assert said[person.name] == ("customer", "name")
    assert said[person.password] == ("customer", "password")


@pytest.mark.parametrize("setup", SETUPS)
def test_a_start_without_a_task_shows_what_could_be_asked_for(setup: Setup) -> None:
    for seed in range(5):
        things = offered_things(setup, seed)
        assert things == offered_things(setup, seed)
        kinds = {each.type for each in things}
        assert kinds >= {"product", "variant", "number", "customer", "code", "address", "order"}
        products = {product.name for product in make_world(seed).products}
        assert {str(e.properties["name"]) for e in things if e.type == "product"} <= products
