"""The system calls that a box refuses, as a seccomp filter program for the kernel.

Two filters: `boxed` for whatever runs in a box (no mounts, namespaces, tracing, kernel keys,
foreign memory, io_uring, terminals), and `strict` for the process that runs skill code (also
no new process or thread, no program, no socket, no signal, no change of a file's owner, mode
or times, nothing done to another process by number). A call newer than the tables answers that
it does not exist. It assembles the classic BPF by itself, so it needs no library; it installs
nothing.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping
from typing import Literal

Machine = Literal["x86_64", "aarch64"]


def _table(text: str) -> dict[str, dict[str, int]]:
    """Rows of `name:x86_64:aarch64`, a number or a dash, by machine."""
    tables: dict[str, dict[str, int]] = {"x86_64": {}, "aarch64": {}}
    for row in text.split():
        name, *numbers = row.split(":")
        for machine, number in zip(tables, numbers, strict=True):
            if number != "-":
                tables[machine][name] = int(number)
    return tables


DENIED = _table(
    """
    acct:163:89 add_key:248:217 adjtimex:159:171 bpf:321:280 clock_adjtime:305:266
    clock_settime:227:112 create_module:174:- delete_module:176:106 fanotify_init:300:262
    finit_module:313:273 fsconfig:431:431 fsmount:432:432 fsopen:430:430 fspick:433:433
    init_module:175:105 io_pgetevents:333:292 io_setup:206:0 io_submit:209:2
    io_uring_enter:426:426 io_uring_register:427:427 io_uring_setup:425:425 ioperm:173:-
    iopl:172:- kcmp:312:272 kexec_file_load:320:294 kexec_load:246:104 keyctl:250:219
    lookup_dcookie:212:18 mbind:237:235 memfd_create:319:279 migrate_pages:256:238 mount:165:40
    move_mount:429:429 move_pages:279:239 name_to_handle_at:303:264 nfsservctl:180:42
    open_by_handle_at:304:265 open_tree:428:428 perf_event_open:298:241 personality:135:92
    pidfd_getfd:438:438 pidfd_open:434:434 pivot_root:155:41 process_vm_readv:310:270
    process_vm_writev:311:271 ptrace:101:117 quotactl:179:60 reboot:169:142 request_key:249:218
    setdomainname:171:162 sethostname:170:161 setns:308:268 settimeofday:164:170 swapoff:168:225
    swapon:167:224 syslog:103:116 umount2:166:39 unshare:272:97 userfaultfd:323:282 uselib:134:-
    vhangup:153:58 vmsplice:278:75
    """
)
"""Refused to every process in a box."""

STRICT = _table(
    """
    accept:43:202 accept4:288:242 bind:49:200 capset:126:91 chmod:90:- chown:92:- chroot:161:51
    clone:56:220 connect:42:203 execve:59:221 execveat:322:281 fchmod:91:52 fchmodat:268:53
    fchown:93:55 fchownat:260:54 flock:73:32 fork:57:- fremovexattr:199:16 fsetxattr:190:7
    futimesat:261:- get_robust_list:274:100 inotify_init:253:- inotify_init1:294:26
    ioprio_set:251:30 kill:62:129 lchown:94:- listen:50:201 lremovexattr:198:15 lsetxattr:189:6
    mknod:133:- mknodat:259:33 mq_open:240:180 mq_unlink:241:181 msgget:68:186
    pidfd_send_signal:424:424 prctl:157:167 removexattr:197:14 rt_sigqueueinfo:129:138
    rt_tgsigqueueinfo:297:240 sched_setaffinity:203:122 sched_setattr:314:274
    sched_setparam:142:118 sched_setscheduler:144:119 seccomp:317:277 semget:64:190
    sendmmsg:307:269 sendmsg:46:211 sendto:44:206 setpriority:141:140 setxattr:188:5 shmget:29:194
    socket:41:198 socketpair:53:199 tgkill:234:131 tkill:200:130 truncate:76:45 utime:132:-
    utimensat:280:88 utimes:235:- vfork:58:- shmat:30:196 shmctl:31:195 semop:65:193
    semctl:66:191 semtimedop:220:192 msgsnd:69:189 msgrcv:70:188 msgctl:71:187
    """
)
"""Refused besides, once skill code is to run."""

EXAMINED = _table(
    """
    clone:56:220 clone3:435:435 fcntl:72:25 ioctl:16:29 prlimit64:302:261
    """
)
"""Allowed or refused by an argument."""

ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 439
"""The last call that these tables have judged; `faccessat2`, Linux 5.8."""
X32 = 0x40000000
NAMESPACES = 0x7E020000 | 0x00000080
"""Every flag of `clone` that makes a namespace."""
TERMINAL = (0x5412, 0x541C)
"""`ioctl` requests that push input into a terminal: TIOCSTI and TIOCLINUX."""
DESCRIPTOR_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""`ioctl` requests that Python makes of its own files; none names a process."""
DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 4, 1030)
"""`fcntl` commands on descriptors and flags; owners, leases and locks are not among them."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_REFUSE = _ERROR | errno.EPERM
_UNKNOWN = _ERROR | errno.ENOSYS


class UnsupportedMachineError(Exception):
    """Raised where there is no table of this machine's system calls."""


def machine() -> str:
    """This machine, as the tables name it."""
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.system() == "Linux" and machine() in ARCHITECTURES


def boxed(which: str | None = None) -> bytes:
    """The filter for everything in a box; it may still start programs and processes."""
    return _program(which or machine(), strict=False)


def strict(which: str | None = None) -> bytes:
    """The filter for the process that runs skill code."""
    return _program(which or machine(), strict=True)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int) -> bytes:
    """Load the low half of an argument; both machines are little-endian."""
    return _instruction(_LOAD, _ARGUMENTS + 8 * index)


def _refuse(number: int, answer: int = _REFUSE) -> bytes:
    return _instruction(_EQUAL, number, 0, 1) + _instruction(_RETURN, answer)


def _when(number: int, body: bytes) -> bytes:
    """Run the body, which must return, for one call alone."""
    return _instruction(_EQUAL, number, 0, len(body) // 8) + body


def _only(index: int, values: tuple[int, ...]) -> bytes:
    """Allow the call for these values of an argument, and refuse it for others."""
    body = _argument(index)
    for value in values:
        body += _instruction(_EQUAL, value, 0, 1) + _instruction(_RETURN, _ALLOW)
    return body + _instruction(_RETURN, _REFUSE)


def _never(index: int, values: tuple[int, ...]) -> bytes:
    body = _argument(index)
    for value in values:
        body += _refuse(value)
    return body + _instruction(_RETURN, _ALLOW)


def _program(which: str, *, strict: bool) -> bytes:
    if which not in ARCHITECTURES:
        raise UnsupportedMachineError(f"There is no table of system calls for {which!r}.")
    examined = EXAMINED[which]
    program = _instruction(_LOAD, _ARCHITECTURE)
    program += _instruction(_EQUAL, ARCHITECTURES[which], 1, 0) + _instruction(_RETURN, _KILL)
    program += _instruction(_LOAD, _NUMBER)
    if which == "x86_64":
        program += _instruction(_AT_LEAST, X32, 0, 1) + _instruction(_RETURN, _KILL)
    program += _instruction(_AT_LEAST, NEWEST + 1, 0, 1) + _instruction(_RETURN, _UNKNOWN)
    program += _refuse(examined["clone3"], _UNKNOWN)
    refused = dict(DENIED[which])
    if strict:
        refused |= STRICT[which]
        program += _when(examined["ioctl"], _only(1, DESCRIPTOR_REQUESTS))
        program += _when(examined["fcntl"], _only(1, DESCRIPTOR_COMMANDS))
        # Zero is the process itself; the host may have the same user.
        program += _when(examined["prlimit64"], _only(0, (0,)))
    else:
        program += _when(examined["ioctl"], _never(1, TERMINAL))
        flags = _argument(0) + _instruction(_ANY_BIT, NAMESPACES, 0, 1)
        flags += _instruction(_RETURN, _REFUSE) + _instruction(_RETURN, _ALLOW)
        program += _when(examined["clone"], flags)
    for number in sorted(set(refused.values())):
        program += _refuse(number)
    return program + _instruction(_RETURN, _ALLOW)
