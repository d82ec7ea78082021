"""What a task can say of a file system and of a vehicle."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from agentlab.environments.bfcl.offices import TEXTS
from agentlab.environments.bfcl.vocabulary import (
    Note,
    Seen,
    Subject,
    fact,
    member,
    states,
    table,
)
from agentlab.types import JsonObject

WAYS = ("..", "/")
"""Names of folders that every folder knows: the one above it, and the top."""
DOORS = ("driver", "passenger", "rear_left", "rear_right")


def _name_kinds(name: JsonValue) -> tuple[str, ...]:
    """A new name with an ending is one for a file, as people write them."""
    return ("file name",) if "." in str(name) else ("folder name",)


def _walk(folder: JsonObject, name: str) -> Iterator[tuple[str, str, JsonValue]]:
    """Each thing below a folder: the folder's name, its own, and what it holds."""
    for inner, value in folder.items():
        yield name, inner, value
        if isinstance(value, dict):
            yield from _walk(value, inner)


def _top(now: JsonObject) -> tuple[JsonObject, str]:
    here = str(now.get("current_folder"))
    return table(now.get("root")), here.strip("/").partition("/")[0]


def _file_facts(now: JsonObject) -> JsonObject:
    folders: list[JsonValue] = []
    files: list[JsonValue] = []
    texts: list[JsonValue] = []
    for folder, name, value in _walk(*_top(now)):
        row: JsonObject = {"name": name, "folder": folder}
        if isinstance(value, dict):
            folders.append(row)
        else:
            files.append(row)
            texts.append({"name": name, "text": value})
    here = str(now.get("current_folder")).rpartition("/")[2]
    return {"files": files, "folders": folders, "texts": texts, "working folder": here}


def _file_seen(now: JsonObject) -> Iterator[Seen]:
    root, top = _top(now)
    yield Seen("name", top, ("folder",))
    for _, name, value in _walk(root, top):
        kinds = ("folder", "folder name") if isinstance(value, dict) else ("file name",)
        yield Seen("name", name, kinds)
    yield from (Seen("name", way) for way in WAYS)


FILES = Subject(
    api="GorillaFileSystem",
    predicates=(
        member("files", name="file name", folder="folder"),
        member("folders", name="folder name", folder="folder"),
        member("texts", name="file name", text="text"),
        fact("working folder", "folder", "folder"),
    ),
    takes={
        "cd": {"folder": "name"},
        "mkdir": {"dir_name": "name"},
        "touch": {"file_name": "name"},
        "echo": {"content": "text", "file_name": "name"},
        "mv": {"source": "name", "destination": "name"},
        "cp": {"source": "name", "destination": "name"},
        "rm": {"file_name": "name"},
    },
    facts=_file_facts,
    seen=_file_seen,
    notes=(
        Note("text", TEXTS, number=2),
        Note(
            "name",
            (("mkdir", "dir_name"), ("touch", "file_name"), ("mv", "destination")),
            number=4,
            kinds=_name_kinds,
        ),
    ),
)


def _vehicle_facts(now: JsonObject) -> JsonObject:
    return {
        "engine": now.get("engine_state"),
        "doors": [{"door": d, "state": s} for d, s in table(now.get("doorStatus")).items()],
        "headlights": now.get("headLightStatus"),
        "parking brake": now.get("parkingBrakeStatus"),
        "brake pedal": now.get("brakePedalStatus"),
        "cruise control": now.get("cruiseStatus"),
        "gap ahead": now.get("distanceToNextVehicle"),
        "destination": now.get("destination"),
        "cabin temperature": now.get("acTemperature"),
    }


def _vehicle_seen(now: JsonObject) -> Iterator[Seen]:
    for door in table(now.get("doorStatus")):
        yield Seen("door", door)
    yield from states(
        {
            "engine": ("running", "stopped"),
            "door": ("locked", "unlocked"),
            "headlights": ("on", "off"),
            "parking brake": ("engaged", "released"),
            "brake pedal": ("pressed", "released"),
            "cruise control": ("active", "inactive"),
        }
    )


VEHICLE = Subject(
    api="VehicleControlAPI",
    predicates=(
        fact("engine", "state", "engine state"),
        member("doors", door="door", state="door state"),
        fact("headlights", "state", "headlights state"),
        fact("parking brake", "state", "parking brake state"),
        fact("brake pedal", "state", "brake pedal state"),
        fact("cruise control", "state", "cruise control state"),
        fact("gap ahead", "gap", "gap"),
        fact("destination", "place", "place"),
        fact("cabin temperature", "degrees", "degrees"),
    ),
    takes={
        "startEngine": {"ignitionMode": ("START", "STOP")},
        "lockDoors": {
            "unlock": (True, False),
            "door": ([*DOORS], [DOORS[0]]),
        },
        "pressBrakePedal": {"pedalPosition": (1.0, 0.5)},
        "releaseBrakePedal": {},
        "activateParkingBrake": {"mode": ("engage", "release")},
        "setHeadlights": {"mode": ("on", "off")},
        "adjustClimateControl": {"temperature": "degrees"},
        "fillFuelTank": {"fuelAmount": "fuel"},
        "set_navigation": {"destination": "place"},
        "setCruiseControl": {
            "speed": "speed",
            "activate": (True, False),
            "distanceToNextVehicle": "gap",
        },
    },
    facts=_vehicle_facts,
    seen=_vehicle_seen,
    notes=(
        Note("place", (("set_navigation", "destination"), ("estimate_distance", "cityA"))),
        Note("degrees", values=tuple(n + 0.5 for n in range(16, 29))),
        Note("fuel", values=tuple(n + 0.25 for n in range(1, 12)), number=1),
        Note("speed", values=tuple(range(30, 125, 5))),
        Note("gap", values=tuple(n + 0.75 for n in range(40, 200, 8))),
    ),
)
