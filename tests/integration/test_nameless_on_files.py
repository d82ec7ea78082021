"""Skills of a model whose effect has no name, on the filesystem server that npm brings.

The server's grammar is derived from what its folder can become: it names a file that is there, and
not one that lies in another folder with the text it had. Such a skill is replayed there, from fresh
folders, on files and folders that it did not learn from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from agentlab.environments.mcp.world import McpWorld
from agentlab.environments.registration import make_environment
from agentlab.graph.given import Told
from agentlab.graph.replays import replay_skill
from agentlab.graph.starts import ReplayRequest
from agentlab.library.admission import nameable, static_check
from agentlab.library.controls import INSTEAD
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.sandbox.subprocess import PlainBox
from agentlab.types import EnvironmentRef, Parameter, Replay, Skill
from tests.unit.environments.test_mcp_environment import files_server
from tests.unit.graph.test_nameless_effects import DOC, ENOUGH, verdict

FILE = Parameter(name="path", type="path", requires={"in_files_path": True})
PLACE = Parameter(name="folder", type="folder", requires={"in_folders_folder": False})
GIVEN = "*, path: str, folder: str"
PUT_AWAY = (
    "    env.create_directory(path=folder)\n"
    "    env.move_file(source=path, destination=folder + '/' + path.split('/')[-1])\n"
)
ONLY_READ = "    env.read_text_file(path=path)\n"
THERE = (
    "    text = [file['text'] for file in initial['files'] if file['path'] == path]\n"
    "    now = {file['path']: file['text'] for file in final['files']}\n"
    "    new = folder + '/' + path.split('/')[-1]\n"
    "    return len(text) == 1 and path not in now and now.get(new) == text[0]\n"
)
ANY = "    return initial != final\n"
YES = "    return path != folder\n"


def skill(body: str, check: str, *tools: str) -> Skill:
    """A candidate of a model's, without a clause."""
    return Skill(
        id="skill-put-away",
        name="put_away",
        environment="mcp-files",
        source=f"def put_away(env, {GIVEN}):\n{DOC}{body}",
        parameters=(FILE, PLACE),
        summary="Put a file away, in a folder that is new.",
        effect_source=f"def check(initial, final, {GIVEN}):\n{check}",
        tools=tools,
        origin="model",
    )


BOTH = ("create_directory", "move_file")
HOSTILE: Mapping[str, tuple[Skill, str]] = {
    "true of any change": (skill(PUT_AWAY, ANY, *BOTH), "effect: it passes "),
    "true of anything": (skill(PUT_AWAY, YES, *BOTH), "effect: it passes before anything was done"),
    "only reads": (skill(ONLY_READ, THERE, "read_text_file"), "effect: the effect did not show"),
}


@pytest.mark.timeout(300)  # each replay begins in a fresh folder
def test_what_has_no_name_is_told_by_its_check() -> None:
    good = skill(PUT_AWAY, THERE, *BOTH)
    ref = EnvironmentRef(
        name=f"mcp:{files_server()}", options={"allow_destructive": True, "reuse": True}
    )

    async def work() -> dict[str, tuple[Replay, ...]]:
        runtime = BoxRuntime(PlainBox(unsafe_local=True))
        try:
            found: dict[str, tuple[Replay, ...]] = {}
            for name, candidate in {
                "good": good,
                **{n: s for n, (s, _) in HOSTILE.items()},
            }.items():
                request = ReplayRequest(
                    skill=candidate,
                    environment=ref,
                    setups=spec.setups[-1:],
                    count=ENOUGH,
                    seed=5,
                    told=Told(),
                )
                found[name] = await replay_skill(request, world, runtime)
            return found
        finally:
            await runtime.close()
            await world.close()

    world = make_environment(ref)
    assert isinstance(world, McpWorld)
    spec, specs = world.grammar().spec, world.tools
    assert spec.templates and nameable(good, spec) is None
    assert static_check(good, {tool.name for tool in specs}, (), specs=specs) is None
    reading = static_check(HOSTILE["only reads"][0], {t.name for t in specs}, (), specs=specs)
    assert reading is not None and "no tool that changes anything" in reading
    replays = asyncio.run(work())
    assert verdict(good, replays["good"]) is None
    assert all(replay.unseen for replay in replays["good"])
    assert INSTEAD in {control.wrong for r in replays["good"] for control in r.controls}
    for name, (candidate, reason) in HOSTILE.items():
        found = verdict(candidate, replays[name])
        assert found is not None and found.startswith(reason), (name, found)
