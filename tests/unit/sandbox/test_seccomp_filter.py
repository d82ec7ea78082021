"""The seccomp filters, run by an interpreter of classic BPF, for both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from agentlab.sandbox import seccomp

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = ERROR | errno.EPERM, ERROR | errno.ENOSYS
MACHINES = ("x86_64", "aarch64")


def decide(program: bytes, number: int, *arguments: int, architecture: int) -> int:
    """What the kernel would answer; a jump out of the program is an error here too."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
            continue
        answer = {
            0x15: accumulator == value,
            0x35: accumulator >= value,
            0x45: bool(accumulator & value),
        }[code]
        at += if_true if answer else if_false


def ask(machine: str, which: bytes, name: str, *arguments: int) -> int:
    for table in (seccomp.DENIED, seccomp.STRICT, seccomp.EXAMINED):
        if name in table[machine]:
            number = table[machine][name]
            return decide(which, number, *arguments, architecture=seccomp.ARCHITECTURES[machine])
    raise KeyError(name)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_of_the_tables_is_refused(machine: str) -> None:
    for name in seccomp.DENIED[machine]:
        assert ask(machine, seccomp.boxed(machine), name) == EPERM, name
        assert ask(machine, seccomp.strict(machine), name) == EPERM, name
    for name in seccomp.STRICT[machine]:
        assert ask(machine, seccomp.strict(machine), name) == EPERM, name
    assert len(seccomp.DENIED[machine]) >= 56


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide_where_they_must(machine: str) -> None:
    boxed, strict = seccomp.boxed(machine), seccomp.strict(machine)
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 1 << 30):
        assert ask(machine, boxed, "clone", flag | 17) == EPERM, hex(flag)
    assert ask(machine, boxed, "clone", 17) == ALLOW
    assert ask(machine, boxed, "clone", 0x3D0F00) == ALLOW  # a thread
    assert ask(machine, strict, "clone", 17) == EPERM
    assert ask(machine, boxed, "clone3") == ask(machine, strict, "clone3") == ENOSYS
    assert ask(machine, boxed, "ioctl", 0, 0x5412) == EPERM
    assert ask(machine, boxed, "ioctl", 0, 0x5401) == ALLOW
    for request, answer in ((0x5401, ALLOW), (0x5412, EPERM), (0x8901, EPERM)):
        assert ask(machine, strict, "ioctl", 0, request) == answer
    for command, answer in ((1, ALLOW), (8, EPERM), (10, EPERM), (15, EPERM), (1024, EPERM)):
        assert ask(machine, strict, "fcntl", 0, command) == answer
    assert ask(machine, strict, "prlimit64", 0) == ALLOW
    assert ask(machine, strict, "prlimit64", 1) == EPERM
    # Only the low half of an argument counts for the kernel, too, in these calls.
    assert ask(machine, boxed, "ioctl", 0, (1 << 32) | 0x5412) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_what_the_tables_have_not_judged_does_not_exist(machine: str) -> None:
    architecture = seccomp.ARCHITECTURES[machine]
    for program in (seccomp.boxed(machine), seccomp.strict(machine)):
        assert decide(program, seccomp.NEWEST + 1, architecture=architecture) == ENOSYS
        assert decide(program, 1000, architecture=architecture) == ENOSYS
        assert decide(program, seccomp.NEWEST, architecture=architecture) == ALLOW
        assert decide(program, 0, architecture=0x40000003) == KILL
    if machine == "x86_64":
        program = seccomp.strict(machine)
        assert decide(program, 0x40000000 | 59, architecture=architecture) == KILL


def test_reading_writing_and_ending_are_allowed() -> None:
    strict = seccomp.strict("x86_64")
    for number in (0, 1, 3, 9, 11, 12, 13, 60, 231, 257, 318):
        assert decide(strict, number, architecture=seccomp.ARCHITECTURES["x86_64"]) == ALLOW


def test_a_machine_without_a_table_is_an_error() -> None:
    with pytest.raises(seccomp.UnsupportedMachineError, match="'mips'"):
        seccomp.strict("mips")
    assert not seccomp.supported() or seccomp.machine() in MACHINES
