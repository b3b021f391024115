"""How far an address reaches: this machine, this site, the world, or nowhere at all."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

Address = tuple[str, int]

_SHARED = IPv4Network("100.64.0.0/10")  # RFC 6598: behind a carrier's NAT, of use to neighbours only
NEAR_V4_PREFIX = 24
NEAR_V6_PREFIX = 64
SOURCE_V6_PREFIX = 48


class Scope(IntEnum):
    """Wider is greater."""

    NONE = 0  # multicast, unspecified, reserved: never dialled
    HOST = 1
    SITE = 2
    WORLD = 3


def scope_of(host: str) -> Scope:
    """The scope of an IP literal; NONE for anything else."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return Scope.NONE
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return Scope.HOST
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return Scope.NONE
    if ip.is_link_local or ip.is_private or (isinstance(ip, IPv4Address) and ip in _SHARED):
        return Scope.SITE
    return Scope.WORLD if ip.is_global else Scope.NONE


def near(ours: str, theirs: str) -> bool:
    """Whether two hosts are on one site as far as addresses tell: both on this machine, or in one /24 or
    /64.
    """
    try:
        a, b = ip_address(ours.partition("%")[0]), ip_address(theirs.partition("%")[0])
    except ValueError:
        return False
    if a.is_loopback and b.is_loopback:
        return True
    if a.version != b.version or scope_of(ours) is Scope.NONE:
        return False
    prefix = NEAR_V4_PREFIX if a.version == 4 else NEAR_V6_PREFIX
    return b in ip_network(f"{a}/{prefix}", strict=False)


def source_of(host: str) -> str:
    """What counts as one source: a host of this site, a network of /24 or /48 of the world. Whoever has many
    addresses in one place is one voice."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if scope_of(str(ip)) is not Scope.WORLD:
        return str(ip)
    prefix = NEAR_V4_PREFIX if ip.version == 4 else SOURCE_V6_PREFIX
    return str(ip_network(f"{ip}/{prefix}", strict=False))


def may_be_told(source: str, told: str) -> bool:
    """Whether a peer at `source` may tell of `told`: the world's addresses always, narrower ones only from
    within.

    So no stranger on the internet can make us dial our printer, or this very machine.
    """
    scope = scope_of(told)
    if scope is Scope.NONE or scope is Scope.WORLD:
        return scope is Scope.WORLD
    return Scope.NONE < scope_of(source) <= scope
