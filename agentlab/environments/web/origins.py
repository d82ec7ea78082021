"""Which origins a page may reach: a list of names, and nothing that is not on it.

An origin is a scheme, a host and a port. A host beginning with `*.` stands for the names below
it. Only `http` and `https` can be named, so `file:`, `chrome:`, `ftp:` and the like are never
allowed, nor is an address that carries a name and password. Nothing here opens a connection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from agentlab.errors import ConfigError

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SAME = {"ws": "http", "wss": "https"}
"""Sockets belong to the origin of the pages that may open them."""
INERT = ("about:blank", "about:srcdoc")
"""Addresses behind which there is nothing."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_LOGIN = re.compile(r"//[^/?#]*@")
MOST_SCHEME = 40


class Origin(NamedTuple):
    """Scheme, host in lower case without brackets, port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(url: str) -> Origin | None:
    """The origin of an address; None where it has none that a page may be reached at."""
    try:
        parts = urlsplit(url.strip())
        scheme = SAME.get(parts.scheme, parts.scheme)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    if (known := _plain_host(host)) is None:
        return None
    return Origin(scheme, known, PORTS[scheme] if port is None else port)


def joined(base: str, url: str) -> str:
    """What an address means on the page at `base`; itself where it can be read as none."""
    try:
        return urljoin(base, url)
    except ValueError:
        return url


def without_login(url: str) -> str:
    """An address for a sentence: with "…" for the name and password in it."""
    return _LOGIN.sub("//…@", url)


def _plain_host(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        name = host.encode("idna").decode("ascii") if not host.isascii() else host
    except UnicodeError:
        return None
    name = name.lower().rstrip(".")
    # What a resolver would take for a number (`127.1`, `0x7f000001`) is no name.
    if not _HOST.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        return None
    return name


class AllowList:
    """The origins that one attempt may reach.

    Args:
        origins: such as `https://example.org`, `http://127.0.0.1:8000`, `https://*.example.org`.

    Raises:
        ConfigError: one of them is no origin.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._exact: set[Origin] = set()
        self._below: set[Origin] = set()
        for text in origins:
            found = origin_of(text)
            if found is None or urlsplit(text).path not in ("", "/") or urlsplit(text).query:
                raise ConfigError(
                    f"web: {text[:120]!r} is no origin; write scheme, host and port alone, such "
                    "as 'https://example.org'."
                )
            if found.host.startswith("*."):
                if found.host.count(".") < 2 and found.host != "*.localhost":
                    raise ConfigError(f"web: {text[:120]!r} would allow a whole top-level domain.")
                self._below.add(found._replace(host=found.host[1:]))
            else:
                self._exact.add(found)

    def __str__(self) -> str:
        below = (f"{o.scheme}://*{o.host}" for o in self._below)
        return ", ".join(sorted([*map(str, self._exact), *below])) or "none"

    def allows(self, origin: Origin | None) -> bool:
        """Whether the origin is on the list."""
        if origin is None:
            return False
        return origin in self._exact or any(
            origin.host.endswith(each.host) and origin._replace(host=each.host) == each
            for each in self._below
        )

    def allows_tunnel(self, host: str, port: int) -> bool:
        """Whether a tunnel may lead there: to an origin of either scheme."""
        known = _plain_host(host)
        return known is not None and any(
            self.allows(Origin(scheme, known, port)) for scheme in ("http", "https")
        )

    def refusal(self, url: str) -> str | None:
        """Why a page may not go to an address, in a sentence, or None where it may."""
        if url in INERT:
            return None
        found = origin_of(url)
        if found is None:
            # Not by `urlsplit`, which raises for some of what is no address.
            scheme = url.partition(":")[0].strip().lower()[:MOST_SCHEME] if ":" in url else ""
            if scheme in PORTS:
                return f"{without_login(url)[:200]!r} is no plain address of a page"
            return f"addresses of the kind {scheme + ':'!r} are never opened"
        if not self.allows(found):
            return f"the origin {found} is not on the list of origins allowed here ({self})"
        return None


CLOUD = ipaddress.IPv6Network("fd00:ec2::/32")
"""Where machines in a cloud are told their own secrets, as at 169.254.169.254."""
TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_inside(address: str) -> bool:
    """Whether an address is one of this machine's own, or one that no public name may have."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in CLOUD:
            return True
        ip = _ipv4_within(ip) or ip
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast


def _ipv4_within(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address that one of six words leads on to: mapped, compatible, 6to4 or translated."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in TRANSLATED or (ip in COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return None


def is_own_name(host: str) -> bool:
    """Whether a host is said to be this machine: what it resolves to may be loopback."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
