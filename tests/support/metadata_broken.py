"""Metadata sets that must be refused by someone who sees the app for the first time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.metadata_cases import (
    ONLINE,
    Case,
    L,
    bend,
    bend_root,
    broken,
    edit_blob,
    edit_envelope,
    fresh,
    released,
)
from tests.support.repository import (
    APP_ID,
    DAY,
    NOW,
    ROLES,
    Document,
    Repository,
    blob_of,
    canonical,
    flip,
    key_id,
    key_object,
    public_hex,
    signature,
    text_of,
    with_blob,
)


@broken
def flipped_bit(rng: random.Random) -> Case:
    repository = released(rng)
    metadata, role = repository.metadata(), rng.choice(ROLES)
    raw = metadata.roots[-1] if role == "root" else getattr(metadata, role)
    return Case(with_blob(metadata, role, flip(raw, rng.randrange(len(raw)))), repository.app_key)


@broken
def flipped_bit_and_hashes_to_fit(rng: random.Random) -> Case:
    return edit_blob(rng, rng.choice(ROLES), lambda raw: flip(raw, rng.randrange(len(raw))))


@broken
def truncated(rng: random.Random) -> Case:
    return edit_blob(rng, rng.choice(ROLES), lambda raw: raw[: rng.randrange(len(raw))])


@broken
def bytes_appended(rng: random.Random) -> Case:
    return edit_blob(rng, rng.choice(ROLES), lambda raw: raw + rng.choice([b"x", b"\0", b"{}", raw]))


@broken
def one_signature_short(rng: random.Random) -> Case:
    role = rng.choice(ROLES)
    return edit_envelope(rng, role, lambda value: value["signatures"].pop())


@broken
def no_signatures(rng: random.Random) -> Case:
    return edit_envelope(rng, rng.choice(ROLES), lambda value: value["signatures"].clear())


@broken
def one_signature_twice(rng: random.Random) -> Case:
    """CVE-2020-6174: a threshold of two met by one key."""
    return edit_envelope(rng, "targets", lambda value: value.update(signatures=value["signatures"][:1] * 2))


@broken
def signed_by_a_stranger(rng: random.Random) -> Case:
    repository = released(rng)
    role = rng.choice(ROLES[1:])
    repository.names[role] = ["mallory", *repository.names[role][1:]]
    return fresh(repository)


@broken
def signatures_under_each_others_ids(rng: random.Random) -> Case:
    def swap(value: Document) -> None:
        first, second = value["signatures"]
        first["sig"], second["sig"] = second["sig"], first["sig"]

    return edit_envelope(rng, "targets", swap)


@broken
def release_signed_by_the_heartbeat(rng: random.Random) -> Case:
    repository = released(rng)
    repository.names["targets"] = ["hb"]
    return fresh(repository)


@broken
def heartbeat_by_a_signer(rng: random.Random) -> Case:
    repository = released(rng)
    repository.names[rng.choice(ONLINE)] = ["ada"]
    return fresh(repository)


@broken
def seventeen_or_more_signatures(rng: random.Random) -> Case:
    def edit(value: Document) -> None:
        value["signatures"] += [
            {"keyid": rng.randbytes(32).hex(), "sig": rng.randbytes(64).hex()}
            for _ in range(rng.randint(16, 60))
        ]

    return edit_envelope(rng, rng.choice(ROLES), edit)


@broken
def signature_with_s_plus_l(rng: random.Random) -> Case:
    def edit(value: Document) -> None:
        sig = bytes.fromhex(value["signatures"][0]["sig"])
        s = int.from_bytes(sig[32:], "little") + L
        value["signatures"][0]["sig"] = (sig[:32] + s.to_bytes(32, "little")).hex()

    return edit_envelope(rng, rng.choice(ROLES), edit)


@broken
def key_of_small_order(rng: random.Random) -> Case:
    public = rng.choice(["01" + "00" * 31, "ec" + "ff" * 30 + "7f", "00" * 32, "00" * 31 + "80"])
    repository = released(rng)
    root = repository["root"]
    root["keys"][key_id(public)] = key_object(public)
    root["roles"]["targets"] = {"keyids": [key_id(public)], "threshold": 1}
    repository.recommit_root()
    forged = {"keyid": key_id(public), "sig": "01" + "00" * 63}
    repository.blob_edits["targets"] = lambda raw: canonical(json.loads(raw) | {"signatures": [forged]})
    return fresh(repository)


@broken
def signature_spelt_otherwise(rng: random.Random) -> Case:
    def edit(value: Document) -> None:
        sig = value["signatures"][0]["sig"]
        value["signatures"][0]["sig"] = rng.choice([sig.upper(), " " + sig, sig + "00", sig[:-2], 7, None])

    return edit_envelope(rng, rng.choice(ROLES), edit)


@broken
def more_in_the_envelope(rng: random.Random) -> Case:
    def edit(value: Document) -> None:
        rng.choice([value, value["signatures"][0]])["x"] = 1

    return edit_envelope(rng, rng.choice(ROLES), edit)


@broken
def envelope_of_another_shape(rng: random.Random) -> Case:
    odd = [
        b"[]",
        b"{}",
        b"null",
        b"7",
        b'""',
        b'{"signatures":[],"signed":[]}',
        b'{"signatures":{},"signed":{}}',
        b"",
    ]
    return edit_blob(rng, rng.choice(ROLES), lambda raw: rng.choice(odd))


@broken
def key_stands_twice_in_an_object(rng: random.Random) -> Case:
    role = rng.choice(ROLES)
    field = rng.choice([b'"_type":"%s"' % role.encode(), b'"version":%d' % (1 if role == "root" else 2)])

    def double(raw: bytes) -> bytes:
        assert field in raw
        return raw.replace(field, field + b"," + field, 1)

    return edit_blob(rng, role, double)


@broken
def number_that_is_no_integer(rng: random.Random) -> Case:
    value = rng.choice(
        [b"1.0", b"1e400", b"NaN", b"Infinity", b"-Infinity", b"9" * 5000, b"1E2", b"-0.0", b"01"]
    )
    role = rng.choice(ROLES[1:])
    return edit_blob(rng, role, lambda raw: raw.replace(b'"version":2', b'"version":' + value))


@broken
def version_out_of_range(rng: random.Random) -> Case:
    return bend(
        rng, rng.choice(ROLES), {"version": rng.choice([0, -1, 2**53, 2**63, 2**64, True, "1", [1], {}])}
    )


@broken
def nested_deeply(rng: random.Random) -> Case:
    depth = rng.choice([20, 1000, 1500])
    return edit_blob(
        rng, rng.choice(ROLES), lambda raw: raw[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    )


@broken
def other_text_encoding(rng: random.Random) -> Case:
    edits = [
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: raw.decode().encode("utf-16-le"),
        lambda raw: raw.replace(b'"_type"', b'"\\ud800":0,"_type"'),
        lambda raw: raw.replace(b'"_type"', b'"\xff":0,"_type"'),
    ]
    return edit_blob(rng, rng.choice(ROLES), rng.choice(edits))


@broken
def larger_than_its_cap(rng: random.Random) -> Case:
    role = rng.choice(ROLES)
    size = {"root": 65536, "timestamp": 4096, "snapshot": 16384, "targets": 262144}[role]
    return bend(rng, role, {"x": "x" * size})


@broken
def expires_misspelt(rng: random.Random) -> Case:
    odd = [
        "9999",
        "2031-01-01",
        "2031-01-01T00:00:00",
        "2031-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "",
        7,
    ]
    odd += [
        "2031-1-1T0:0:0Z",
        "2031-02-30T00:00:00Z",
        "2031-01-01T24:00:00Z",
        "2031-01-01T00:00:60Z",
        "never",
        False,
    ]
    odd += ["0999-01-01T00:00:00Z", " 2031-01-01T00:00:00Z", "2031-01-01t00:00:00z", "２031-01-01T00:00:00Z"]
    return bend(rng, rng.choice(ROLES), {"expires": rng.choice(odd)})


@broken
def expired(rng: random.Random) -> Case:
    return bend(rng, rng.choice(ROLES), {"expires": text_of(NOW - rng.randrange(1000 * int(DAY)))})


@broken
def field_missing(rng: random.Random) -> Case:
    role = rng.choice(ROLES)
    own = {
        "root": ["keys", "roles", "consistent_snapshot"],
        "timestamp": ["meta", "x-pearrt-signed", "x-pearrt-period", "x-pearrt-root"],
        "snapshot": ["meta"],
        "targets": ["targets"],
    }
    field = rng.choice([*own[role], "_type", "spec_version", "version", "expires", "x-pearrt-app"])

    def drop(value: Document) -> None:
        del value["signed"][field]
        value["signatures"] = [signature(name, value["signed"]) for name in signers[role]]

    signers = released(rng).names
    case = edit_envelope(rng, role, drop)
    return replace(case, app_key=Repository().app_key) if role == "root" else case


@broken
def unknown_major_version_of_the_spec(rng: random.Random) -> Case:
    return bend(
        rng,
        rng.choice(ROLES),
        {"spec_version": rng.choice(["2.0.0", "0.9", "10.0.0", "1", "1.0.x", "", 1, "１.0"])},
    )


@broken
def role_of_another_type(rng: random.Random) -> Case:
    repository = released(rng)
    metadata = repository.metadata()
    role, other = rng.sample(ROLES, 2)
    raw = metadata.roots[0] if other == "root" else getattr(metadata, other)
    return Case(with_blob(metadata, role, raw), repository.app_key)


@broken
def role_of_another_type_and_hashes_to_fit(rng: random.Random) -> Case:
    """Snapshot and timestamp have the same key: only `_type` tells them apart."""
    role, other = rng.sample(ONLINE, 2)
    return edit_blob(rng, role, lambda raw: blob_of(json.loads(raw)["signed"] | {"_type": other}, ["hb"]))


@broken
def metadata_of_another_app_with_the_same_keys(rng: random.Random) -> Case:
    repository = released(rng)
    other = Repository(app_id="f" * 32).release("1")
    if rng.random() < 0.3:
        return Case(replace(other.metadata(), roots=repository.metadata().roots), repository.app_key)
    role = rng.choice(ROLES[1:])
    repository[role] = other[role] | {"meta": repository[role].get("meta")} if role in ONLINE else other[role]
    return fresh(repository)


@broken
def app_id_misspelt(rng: random.Random) -> Case:
    return bend(rng, rng.choice(ROLES), {"x-pearrt-app": rng.choice([APP_ID.upper(), "", 7, "0" * 31])})


@broken
def valid_metadata_for_another_link(rng: random.Random) -> Case:
    return replace(fresh(released(rng)), app_key=rng.randbytes(32))


@broken
def threshold_out_of_range(rng: random.Random) -> Case:
    bad = rng.choice([0, -1, 2**64, True, "2", None, 4, 17, [2], 2**53 - 1])
    role = rng.choice(ROLES)
    return bend_root(rng, lambda root: root["roles"][role].update(threshold=bad))


@broken
def one_key_under_three_ids(rng: random.Random) -> Case:
    """The same public key, told apart only by its id: three signatures by one person."""
    repository = released(rng)
    root = repository["root"]
    ids = [key_id(public_hex("ada")), "a" * 64, "b" * 64]
    root["keys"] |= {keyid: key_object(public_hex("ada")) for keyid in ids}
    root["roles"]["targets"] = {"keyids": ids, "threshold": 3}
    repository.recommit_root()

    def thrice(raw: bytes) -> bytes:
        signed = json.loads(raw)["signed"]
        one = signature("ada", signed)["sig"]
        return canonical({"signatures": [{"keyid": keyid, "sig": one} for keyid in ids], "signed": signed})

    repository.blob_edits["targets"] = thrice
    return fresh(repository)


@broken
def roles_name_keys_oddly(rng: random.Random) -> Case:
    ada = key_id(public_hex("ada"))
    odd = [["0" * 64, ada, key_id(public_hex("bob"))], [ada, ada], [], [7], "x", None, [ada.upper()]]
    return bend_root(rng, lambda root: root["roles"]["root"].update(keyids=rng.choice(odd)))


@broken
def roles_are_not_the_four(rng: random.Random) -> Case:
    def edit(root: Document) -> None:
        if rng.random() < 0.5:
            del root["roles"][rng.choice(ROLES)]
        else:
            root["roles"]["mirrors"] = root["roles"]["root"]

    return bend_root(rng, edit)


@broken
def key_of_another_kind(rng: random.Random) -> Case:
    changes: list[Document] = [
        {"keytype": "rsa"},
        {"scheme": "ecdsa"},
        {"keyval": {}},
        {"keyval": {"public": "zz" * 32}},
        {"keyval": {"public": "00" * 31}},
        {"keyval": {"public": "00" * 32, "private": "00" * 32}},
        {"keytype": None},
        {"x-pearrt-name": "\x1b[2J"},
        {"x-pearrt-name": "a\u202eb"},
        {"x": 1},
    ]
    key = key_id(public_hex("cyd"))
    return bend_root(rng, lambda root: root["keys"][key].update(rng.choice(changes)))


@broken
def heartbeat_key_among_the_signers(rng: random.Random) -> Case:
    role = rng.choice(["root", "targets"])
    heartbeat = key_id(public_hex("hb"))
    return bend_root(rng, lambda root: root["roles"][role]["keyids"].append(heartbeat))


@broken
def meta_that_does_not_fit(rng: random.Random) -> Case:
    repository = released(rng)
    changes: list[Document] = [
        {"version": 1},
        {"version": 3},
        {"length": 1},
        {"hashes": {"sha256": "0" * 64}},
        {"hashes": {"md5": "0" * 32}},
        {"hashes": {}},
        {"length": -1},
        {"hashes": {"sha256": None}},
        {"x": 1},
    ]
    change = rng.choice(changes)
    repository.link_edits[rng.choice(["snapshot", "targets"])] = lambda entry: entry.update(change)
    return fresh(repository)


@broken
def meta_names_other_files(rng: random.Random) -> Case:
    repository = released(rng)
    repository[rng.choice(ONLINE)]["meta"]["other.json"] = {"version": 1}
    return fresh(repository)


@broken
def delegations(rng: random.Random) -> Case:
    return bend(rng, "targets", {"delegations": {"keys": {}, "roles": []}})


@broken
def release_misshapen(rng: random.Random) -> Case:
    repository = released(rng)
    release = repository["targets"]["targets"]["stable/any"]
    custom = release["custom"]
    edits: list[Callable[[], Any]] = [
        lambda: custom.update(version="1 0"),
        lambda: custom.update(version=""),
        lambda: custom.update(version="9" * 65),
        lambda: custom.update(version="1\x1b[31m"),
        lambda: custom.update(name="a\u202eb"),
        lambda: custom.update(notes="x" * 5000),
        lambda: custom.update(blocks=["0" * 63]),
        lambda: custom.update(blocks=None),
        lambda: custom.update(released="soon"),
        lambda: release.pop("custom"),
        lambda: release.update(length=-1),
        lambda: release.update(length=2**40),
        lambda: release.update(hashes={"sha256": "0" * 64, "md5": "0" * 32}),
    ]
    rng.choice(edits)()
    return fresh(repository)


@broken
def root_missing_from_the_chain(rng: random.Random) -> Case:
    repository = Repository().rotate(("ada", "bob", "dan"), 2, times=3).release("1")
    metadata = repository.metadata()
    roots = list(metadata.roots)
    del roots[rng.choice([1, 2, 3])]
    return Case(replace(metadata, roots=tuple(roots)), repository.app_key)


@broken
def root_twice_or_out_of_order(rng: random.Random) -> Case:
    repository = Repository().rotate(("ada", "bob", "dan"), 2, times=3).release("1")
    metadata = repository.metadata()
    one, two, three, four = metadata.roots
    order = rng.choice([(one, two, two, three, four), (one, three, two, four), (one, one, two, three, four)])
    return Case(replace(metadata, roots=order), repository.app_key)


@broken
def new_root_signed_by_the_old_or_the_new_keys_alone(rng: random.Random) -> Case:
    repository = Repository().rotate(("dan", "eve"), 2)
    repository.recommit_root(
        *rng.choice([("ada", "bob"), ("dan", "eve"), ("ada", "dan"), ("bob", "dan", "eve")])
    )
    return fresh(repository.release("1"))


@broken
def new_root_of_another_app(rng: random.Random) -> Case:
    repository = Repository()
    repository.app_id = "e" * 32
    repository["root"]["x-pearrt-app"] = repository.app_id
    return fresh(repository.rotate(("ada", "bob", "dan"), 2).release("1"))


@broken
def newest_root_withheld(rng: random.Random) -> Case:
    """The heartbeat did not change, only a signer was revoked: who withholds that root is found out."""
    repository = Repository().rotate(("ada", "bob", "dan"), 2).release("1")
    metadata = repository.metadata()
    return Case(replace(metadata, roots=metadata.roots[:1]), repository.app_key)
