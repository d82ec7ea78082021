"""Skills without a language model: solutions of one shape become one parametrised function.

Examples of the same clause made of the same moves are generalised together: constants that
come from the mission become parameters, fields that follow a parameter become expressions over
it, and what the state gained in every example becomes the effect check. The result is ordinary
Python, and only a candidate: whether it works is for admission to find out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentlab.curators.drafting import Group, diversity, drafts, pattern
from agentlab.curators.examples import Example, examples, grammar_of
from agentlab.curators.gains import clause_effects
from agentlab.curators.honing import mend
from agentlab.curators.writing import write
from agentlab.protocols import CurationContext, HoningContext
from agentlab.types import Skill, skill_id


class GeneralisingCurator:
    """Turns solved attempts into candidate skills.

    Args:
        support: distinct tasks that must show a shape before it becomes a candidate.
        longest: moves that a skill may have; longer ones are left to composition.
        longest_given: the same where tasks are only those that the environment brings, so that
            no shorter one can be composed to learn a part from.
    """

    def __init__(self, *, support: int = 2, longest: int = 5, longest_given: int = 10) -> None:
        self._support = support
        self._longest = longest
        self._longest_given = longest_given

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """Candidates, best supported first. See `protocols.Curator`.

        A function that was proposed before is not proposed again, unless it was refused and
        twice as many examples speak for it now; then it is a new version.
        """
        refused = {skill.id for skill in context.refused}
        # What serves or may serve goes before what was refused, for a mended candidate may have
        # become what another is.
        by_standing = sorted(context.library, key=lambda skill: skill.id not in refused)
        known = {identity(skill): skill for skill in by_standing}
        newest: dict[str, int] = {}
        for skill in context.library:
            newest[skill.name] = max(skill.version, newest.get(skill.name, 0))
        names = {skill.name for skill in context.library}
        grammar = grammar_of(context)
        found = examples(context.attempts, grammar, compose=context.compose)
        longest = self._longest if grammar.spec.composable else self._longest_given
        groups = self._groups(found, longest)
        effects = {
            name: clause_effects([e for e in found if e.predicate == name])
            for name in {example.predicate for example in found}
        }
        templates = {t.predicate: t for t in grammar.spec.templates}
        values = diversity(found)
        tools = {tool.name: tool for tool in context.tools}
        library = {skill.name: skill for skill in context.library}
        candidates: list[Skill] = []
        for group in groups:
            template = templates.get(group.shape[0])
            common = effects[group.shape[0]]
            if template is None or not common:
                continue
            for draft in drafts(group, common, groups, template, tools, library, values):
                skill = write(draft, context, names)
                before = known.get(identity(skill))
                if before is not None:
                    if before.id not in refused or len(group.examples) < 2 * _support(before):
                        continue
                    if skill.name.rpartition("_")[2].isdigit():
                        skill = new_version(skill, before, after=newest[before.name])
                known[identity(skill)] = skill
                names.add(skill.name)
                candidates.append(skill)
        return candidates

    async def hone(self, context: HoningContext) -> Skill | None:
        """The candidate mended by what its replays show. See `protocols.Honer`."""
        return mend(context)

    def _groups(self, found: Sequence[Example], longest: int) -> list[Group]:
        shapes: dict[tuple[object, ...], dict[str, Example]] = {}
        for example in found:
            wrapper = len(example.moves) == 1 and example.moves[0].is_skill
            if len(example.moves) <= longest and not wrapper:
                key = (example.shape, pattern(example))
                shapes.setdefault(key, {}).setdefault(example.task_id, example)
        groups = [
            Group(rows[0].shape, rows)
            for rows in (tuple(by_task.values()) for by_task in shapes.values())
            if len(rows) >= self._support
        ]
        return sorted(groups, key=lambda g: (len(g.shape), -len(g.examples), g.shape))


def _support(skill: Skill) -> int:
    return len(skill.source_tasks)


def new_version(skill: Skill, before: Skill, *, after: int = 0) -> Skill:
    """The skill as the next version of one that was refused, under its name.

    Args:
        skill: what is proposed now.
        before: the version that was refused.
        after: the newest version under that name, where it is a later one.
    """
    source = skill.source.replace(f"def {skill.name}(", f"def {before.name}(", 1)
    version = max(before.version, after) + 1
    return skill.model_copy(
        update={
            "id": skill_id(skill.environment, before.name, version, source),
            "name": before.name,
            "version": version,
            "source": source,
            "parent": before.id,
        }
    )


_NAME = re.compile(r"^def \w+\(", re.MULTILINE)


def identity(skill: Skill) -> tuple[str, str]:
    """What makes two proposals the same: the clause, and the code without name and docstring."""
    body = re.sub(r'"""(?:.|\n)*?"""', "", skill.source)
    return (skill.achieves.predicate if skill.achieves else "", _NAME.sub("def _(", body))
