"""Which addresses and host names are public: the only ones that an app may ever be connected to. Pure.

Rules: an address is public when it is a unicast address of the global internet, by the IANA special-purpose
registries (RFC 6890 and what followed), spelled out here so that every Python judges alike. One that carries
an IPv4 address inside (mapped, compatible, 6to4, NAT64, Teredo) is none: nobody needs those to reach a public
host, and they are how a filter is walked around. A name is judged by its form only; what counts is the
address that it resolves to, judged again at the moment it is dialled.
"""

from __future__ import annotations

import ipaddress
import re

from pearrt.errors import UserError

MAX_HOST_CHARACTERS = 253
MAX_URL_CHARACTERS = 2048

_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # behind a carrier's NAT (RFC 6598)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that is assigned as global unicast
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".home.arpa", ".onion")
# RFC 3986 without `$'()`, which a page can do without and a program that starts browsers may trip over.
_URL = re.compile(r"http(s?)://([A-Za-z0-9.:\[\]-]+)(?:[/?#][A-Za-z0-9._~:/?#\[\]@!&*+,;=%-]*)?")
_PORT = re.compile(r"[0-9]{1,5}")


def is_public(text: str) -> bool:
    """Whether `text` is a public IP address. A zone (`%eth0`) or anything that is no address is not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None:
        return False
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def public_host(text: str, what: str) -> tuple[str, int]:
    """Host and port of `host:port`, the host in lower case and without brackets.

    Raises UserError, naming `what`, unless it is a public DNS name of two labels or more, or a public IP
    address.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise UserError(f"{what}: {ascii(text)[:80]} is not host:port.")
    host = host.lower()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        local = ("." + host).endswith(_LOCAL_NAMES)
        if len(host) > MAX_HOST_CHARACTERS or not _NAME.fullmatch(host) or local:
            raise UserError(f"{what}: {ascii(host)[:80]} is not a public host name.") from None
        return host, int(port)
    if not is_public(address):
        raise UserError(f"{what}: {address} is not a public address.")
    return address, int(port)


def join(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address: how the permission is written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def checked_url(text: str) -> str:
    """A page that a person may be asked to open: http or https, on a public host.

    Raises UserError for anything else: no user names (`https://bank.com@evil.com`), no escapes for a
    terminal, no names that only look like others (they come as punycode), nothing of the local network.
    """
    match = _URL.fullmatch(text) if len(text) <= MAX_URL_CHARACTERS else None
    if match is None:
        raise UserError(
            f"{ascii(text)[:80]} is no page that can be opened.",
            hint="It is http or https, a host, and at most 2048 printable ASCII characters.",
        )
    host = match[2] if ":" in match[2].rpartition("]")[2] else f"{match[2]}:{443 if match[1] else 80}"
    public_host(host, "The page")
    return text
