"""Which public addresses are this machine's own, or lie on a network that it is a part of.

With IPv6, and on many servers, the machine and its neighbours have public addresses: what is public is not
yet far away. An app's host is resolved by whoever owns its name, who can learn this machine's address and
answer with that one, or a neighbour's. Looks at the kernel's tables, changes nothing; where there are none
(other systems), nothing is near. What lies behind a gateway, as other networks of a home may, cannot be told
apart. Source: Linux `proc_pid_net(5)`: `fib_trie`, `if_inet6`, `route`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

TABLES = Path("/proc/net")
WIDEST_V4, WIDEST_V6 = 8, 32  # a shorter prefix is a tunnel to everywhere
_UP, _GATEWAY = 1, 2

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_near(address: str, *, tables: Path = TABLES) -> bool:
    """Whether the public IP address is this machine's or on one of its networks. What is not public, loopback
    say, is not asked here."""
    where = ipaddress.ip_address(address)
    if where.is_loopback:
        return False
    found = _networks_v4(tables) if where.version == 4 else _networks_v6(tables)
    return any(where in network for network in found)


def _networks_v4(tables: Path) -> Iterator[Network]:
    seen = ""
    for fields in _rows(tables / "fib_trie"):
        if fields[0] == "|--":
            seen = fields[-1]
        elif fields == ["/32", "host", "LOCAL"]:
            with contextlib.suppress(ValueError):
                yield ipaddress.IPv4Network(seen)
    for fields in _rows(tables / "route"):
        with contextlib.suppress(ValueError, IndexError):
            network, mask, flags = _packed(fields[1]), _packed(fields[7]), int(fields[3], 16)
            prefix = int.from_bytes(mask).bit_count()
            if flags & (_UP | _GATEWAY) == _UP and prefix >= WIDEST_V4:
                yield ipaddress.IPv4Network((network, prefix), strict=False)


def _packed(word: str) -> bytes:
    """Of a word in the machine's order, in hexadecimal."""
    return int(word, 16).to_bytes(4, sys.byteorder)


def _networks_v6(tables: Path) -> Iterator[Network]:
    for fields in _rows(tables / "if_inet6"):
        with contextlib.suppress(ValueError, IndexError):
            own, prefix = bytes.fromhex(fields[0]), int(fields[2], 16)
            yield ipaddress.IPv6Network((own, prefix if prefix >= WIDEST_V6 else 128), strict=False)


def _rows(table: Path) -> list[list[str]]:
    try:
        return [
            fields for line in table.read_text("ascii", "replace").splitlines() if (fields := line.split())
        ]
    except OSError:
        return []  # no such system
