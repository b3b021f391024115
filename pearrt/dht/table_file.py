"""The saved routing table: a bencoded dict {v:1, id, id6?, nodes, nodes6} of ids and compact contacts.

It is a cache and trusted for nothing: a file that does not parse counts as empty, and every contact must
answer again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pearrt.codec import bencode
from pearrt.dht.contact import ID_BYTES, Contact, Family, pack_contacts, unpack_contacts
from pearrt.errors import RemoteError

MAX_FILE_BYTES = 256 * 1024
_VERSION = 1
_ID_KEYS = {Family.V4: b"id", Family.V6: b"id6"}


@dataclass(frozen=True, slots=True)
class SavedTable:
    """What one family's node had when it stopped: its id (None if unknown) and its contacts."""

    node_id: bytes | None = None
    contacts: tuple[Contact, ...] = ()


def encode(tables: dict[Family, SavedTable]) -> bytes:
    """The file's bytes."""
    fields: dict[bytes, object] = {b"v": _VERSION}
    for family, saved in tables.items():
        if saved.node_id is not None:
            fields[_ID_KEYS[family]] = saved.node_id
        fields[family.nodes_key] = pack_contacts(saved.contacts)
    return bencode.encode(fields)


def decode(data: bytes) -> dict[Family, SavedTable]:
    """What `encode` wrote; empty tables for anything else."""
    try:
        fields = bencode.decode(data)
    except RemoteError:
        fields = None
    if not isinstance(fields, dict) or fields.get(b"v") != _VERSION:
        fields = {}
    return {family: _saved(fields, family) for family in Family}


def _saved(fields: dict[bytes, object], family: Family) -> SavedTable:
    node_id, nodes = fields.get(_ID_KEYS[family]), fields.get(family.nodes_key, b"")
    contacts: Iterable[Contact] = ()
    if isinstance(nodes, bytes) and len(nodes) % family.contact_bytes == 0:
        contacts = unpack_contacts(nodes, family)
    sound = isinstance(node_id, bytes) and len(node_id) == ID_BYTES
    return SavedTable(node_id if sound and isinstance(node_id, bytes) else None, tuple(contacts))
