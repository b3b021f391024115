"""Links: what people paste.

    pearrt://<z-base-32 of key + checksum>[/path][?node=host:port&mirror=https://…&channel=…][#fragment]

The app key is SHA-256("pearrt-app-v1" NUL canonical(signed part of root 1)): self-certifying, unchanged when
signers rotate. The checksum, the first two bytes of SHA-256("pearrt-link-v1" NUL key), turns a typo into an
immediate error. Hints (`node`, `mirror`) are first places to look and are never trusted. A bare key is
accepted where a link is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pearrt.codec import zbase32
from pearrt.crypto.hashes import hmac_sha256, tagged
from pearrt.errors import BadLink

SCHEME = "pearrt"
KEY_BYTES = 32
CHECKSUM_BYTES = 2
KEY_LETTERS = 55
MAX_LINK_CHARS = 2048
MAX_HINTS = 8
DEFAULT_CHANNEL = "stable"

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(?P<port>[0-9]{1,5})")
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host name or IP literal (IPv6 without brackets) and a port, 1 to 65535."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """From `host:port` or `[v6]:port`. Raises BadLink."""
        match = _HOST_PORT.fullmatch(text)
        port = int(match["port"]) if match else 0
        if match is None or not 0 < port < 65536:
            raise BadLink(
                f"{text[:80]!r} is not host:port", hint="Write it like 192.0.2.7:6881 or [2001:db8::7]:6881."
            )
        return cls(match["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Link:
    """A parsed link. `path` and `fragment` are handed to the app; the rest is for finding it.

    `names_channel`: it asks for its channel; else it goes along with the one that is followed already.
    """

    app_key: bytes
    path: str = ""
    nodes: tuple[HostPort, ...] = ()
    mirrors: tuple[str, ...] = ()
    channel: str = DEFAULT_CHANNEL
    fragment: str = ""
    names_channel: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Link:
        """From the text of a link or a bare 55-letter key. Raises BadLink and says what is wrong."""
        text = text.strip()
        if len(text) > MAX_LINK_CHARS:
            raise BadLink(f"The link has {len(text)} characters; at most {MAX_LINK_CHARS} are allowed.")
        if not text.isprintable():
            raise BadLink("The link contains control characters.")
        if "://" not in text:
            text = f"{SCHEME}://{text}"
        try:
            parts = urlsplit(text)
        except ValueError as e:
            raise BadLink(f"Not a link: {e}.") from e
        if parts.scheme.lower() != SCHEME:
            raise BadLink(f"A {parts.scheme[:20]}: link is not a pearrt link.")
        nodes, mirrors, channel = _hints(parts.query)
        return cls(
            app_key=decode_key(parts.netloc),
            path=unquote(parts.path.removeprefix("/")),
            nodes=nodes,
            mirrors=mirrors,
            channel=channel or DEFAULT_CHANNEL,
            names_channel=bool(channel),
            fragment=unquote(parts.fragment),
        )

    def __str__(self) -> str:
        text = f"{SCHEME}://{encode_key(self.app_key)}"
        if self.path:
            text += "/" + quote(self.path)
        hints = [("node", str(node)) for node in self.nodes] + [("mirror", mirror) for mirror in self.mirrors]
        if self.channel != DEFAULT_CHANNEL or self.names_channel:
            hints.append(("channel", self.channel))
        if hints:
            text += "?" + urlencode(hints, safe=":/[]")
        if self.fragment:
            text += "#" + quote(self.fragment, safe="/=")
        return text

    @property
    def key_text(self) -> str:
        """The 55 letters that stand for the app in file names, listings and the local API."""
        return encode_key(self.app_key)


def _hints(query: str) -> tuple[tuple[HostPort, ...], tuple[str, ...], str]:
    nodes: list[HostPort] = []
    mirrors: list[str] = []
    channel = ""
    try:
        pairs = parse_qsl(query, max_num_fields=3 * MAX_HINTS)
    except ValueError as e:
        raise BadLink(f"The link has too many hints; at most {MAX_HINTS} of a kind are allowed.") from e
    for name, value in pairs:
        if name == "node":
            nodes.append(HostPort.parse(value))
        elif name == "mirror":
            if not re.match(r"https?://[^/\s]", value):
                raise BadLink(f"Mirror {value[:80]!r} is no http or https address.")
            mirrors.append(value.rstrip("/"))
        elif name == "channel":
            if not _CHANNEL.fullmatch(value):
                raise BadLink(f"{value[:40]!r} is not the name of a channel.")
            channel = value
    if max(len(nodes), len(mirrors)) > MAX_HINTS:
        raise BadLink(f"The link has too many hints; at most {MAX_HINTS} of a kind are allowed.")
    return tuple(nodes), tuple(mirrors), channel


def _checksum(app_key: bytes) -> bytes:
    return tagged("pearrt-link-v1", app_key)[:CHECKSUM_BYTES]


def encode_key(app_key: bytes) -> str:
    """The 55 letters of an app key with its checksum."""
    return zbase32.encode(app_key + _checksum(app_key))


def decode_key(text: str) -> bytes:
    """The 32-byte app key that 55 letters spell. Raises BadLink for a wrong length, letter or checksum."""
    if len(text) != KEY_LETTERS:
        raise BadLink(f"The key in the link has {len(text)} characters instead of {KEY_LETTERS}.")
    try:
        data = zbase32.decode(text)
    except ValueError as e:
        raise BadLink(f"The key in the link is misspelt: {e}.") from e
    app_key = data[:KEY_BYTES]
    if data[KEY_BYTES:] != _checksum(app_key):
        raise BadLink("The key in the link is misspelt: its checksum does not fit.")
    return app_key


def topic_of(app_key: bytes, psk: bytes = b"") -> bytes:
    """The 32-byte topic under which the app's peers meet; one-way, so that who sees it cannot learn the key.

    DHT nodes see only the first 20 bytes (`dht_topic`), peers prove knowledge of all 32. A private network's
    pre-shared key gives topics of its own.
    """
    topic = tagged("pearrt-topic-v1", app_key)
    return hmac_sha256(psk, topic) if psk else topic


def dht_topic(topic: bytes) -> bytes:
    """The BitTorrent info hash, 20 bytes, that stands for a topic in the DHT (BEP 5)."""
    return topic[:20]
