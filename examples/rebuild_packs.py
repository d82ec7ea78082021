"""The packs that ship with agentlab, made again by the runs that they come from.

Each is a named run: a config and a seed, practised in a new workspace, and exported with the
date that stands here. The same run gives the same pack, byte for byte but for the signatures,
which need the project's key; so anybody can check that the packs in `skills/` are what their runs
made: `--check` compares digests, without signatures where no key is given.

    python examples/rebuild_packs.py [NAME…] [--out DIR] [--key FILE] [--check]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import agentlab
from agentlab.library.exporting import Export, export
from agentlab.library.packs import folder
from agentlab.library.packs.intake import read_folder
from agentlab.library.packs.keys import SigningKey, load_key
from agentlab.records import Records, Workspace

SKILLS = Path(__file__).parents[1] / "skills"
CREATED = "2026-11-21T00:00:00Z"
LICENCE = "Apache-2.0"


class NamedRun(NamedTuple):
    """The run behind a pack."""

    environment: str
    version: str
    summary: str
    seed: int
    rounds: int
    attempts: int


RUNS = {
    "babyai": NamedRun("babyai", "1.0.0", "Skills for BabyAI, learnt by search.", 0, 5, 100),
    "courier": NamedRun("courier", "1.0.0", "Skills for the courier, learnt by search.", 0, 3, 60),
}


def main() -> None:
    """Practise, export, and either write the packs or compare them with those that ship."""
    parser = argparse.ArgumentParser(description="Make the packs in skills/ again.")
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(RUNS)}; else all")
    parser.add_argument("--out", type=Path, default=SKILLS, help="where the packs go")
    parser.add_argument("--key", type=Path, help="private key of the project, to sign them with")
    parser.add_argument("--check", action="store_true", help="compare digests and write nothing")
    parser.add_argument("--quick", action="store_true", help="a tiny run, for a test")
    given = parser.parse_args()
    key = load_key(given.key) if given.key else None
    failed = False
    for name in given.names or RUNS:
        run = RUNS[name]
        if given.quick:
            run = run._replace(rounds=2, attempts=40)
        files = rebuild(name, run, key)
        digest = folder.read(files).digest
        print(f"agentlab/{name} {run.version} {digest}", flush=True)
        if given.check:
            failed = compare(given.out / name, digest, signed=key is not None) or failed
        else:
            write(given.out / name, files)
    if failed:
        raise SystemExit(1)


def rebuild(name: str, run: NamedRun, key: SigningKey | None) -> dict[str, bytes]:
    """The files of a pack, from its run."""
    with TemporaryDirectory() as place:
        agentlab.practice(
            run.environment,
            workspace=place,
            seed=run.seed,
            rounds=run.rounds,
            attempts=run.attempts,
            proposals=run.attempts,
            attempt_seconds=3600.0,
            heldout=0,
        )
        wanted = Export(
            id=f"agentlab/{name}",
            version=run.version,
            environment=run.environment,
            licence=LICENCE,
            authors=("The agentlab authors",),
            summary=run.summary,
            created=CREATED,
        )
        with Records.open(Workspace.open(place)) as records:
            return export(records, wanted, key=key)


def compare(place: Path, digest: str, *, signed: bool) -> bool:
    """Whether the pack that is there is another one; its signatures count only if `signed`."""
    there = folder.read(read_folder(place))
    bare = folder.build(there.pack.model_copy(update={"envelopes": {}}))
    other = there.digest if signed else folder.read(bare).digest
    same = other == digest
    apart = "" if signed else ", signatures apart,"
    print(f"  the one in {place}{apart} is {'the same' if same else other}", flush=True)
    return not same


def write(place: Path, files: dict[str, bytes]) -> None:
    """Put the pack in the place of the one that was there."""
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.write_folder(place, files)


if __name__ == "__main__":
    main()
