"""Signed metadata: what a client fetches of it, and how long it takes to verify.

    python benchmarks/trust.py [--runs 15]

Sizes are of an app with 3 of 5 signers, whose root was changed twice. Cold is a new process, less a bare
interpreter of the same kind, in CPU time: imports, parsing, every signature from root 1 on. Without the
packages, the pure Python of the bootstrapper verifies.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.crypto.keyfile import PublicKey
from pearrt.publish.app import new_app
from pearrt.publish.channel import delegate_channel
from pearrt.publish.draft import Draft, Signature, combine, sign
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.release import Variant, make_releases
from pearrt.publish.rotation import rotate
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet

ROOT = Path(__file__).parents[1]
NOW = 1_900_000_000.0
NAMES = ("ada", "bob", "cyd", "dan", "eve")
HEARTBEAT = Heartbeat(sha256(b"heartbeat"))
VERIFY = """
import sys
sys.path[:0] = [sys.argv[1], *sys.argv[4:]]
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
data = open(sys.argv[2], "rb").read()
TrustedApp.first(bytes.fromhex(sys.argv[3]), MetadataSet.decode(data), 1.9e9)
"""


def public(name: str) -> PublicKey:
    return PublicKey(ed25519.public_key(sha256(name.encode())), name)


def signed(draft: Draft, *names: str) -> list[Signature]:
    return [sign(draft, sha256(name.encode())) for name in names or NAMES[:3]]


def beat(trusted: TrustedApp, now: float, *drafts: Draft) -> TrustedApp:
    """After the drafts were signed and published together."""
    blobs = {
        draft.role: combine(draft, signed(draft, *(() if draft.role in ("root", "targets") else ("tess",))))
        for draft in drafts
    }
    roots = (*trusted.metadata.roots, *([blobs.pop("root")] if "root" in blobs else []))
    targets = blobs.pop("targets", trusted.metadata.targets)
    made = HEARTBEAT.beat(roots, targets, now, trusted.metadata, delegated=blobs)
    return trusted.update(made, now)


def release(trusted: TrustedApp, version: str, channel: str = "stable") -> Draft:
    digest = sha256(version.encode())
    return make_releases(
        trusted,
        [Variant("any", digest, 100_000, (digest,))],
        name="Ledger",
        version=version,
        now=NOW,
        channel=channel,
        notes="Mends the export of months with 31 days. " * 5,
    )


def app() -> TrustedApp:
    signers, heartbeat = [public(name) for name in NAMES], ed25519.public_key(HEARTBEAT.seed)
    new = new_app(signers, 3, heartbeat=heartbeat, app_id=bytes(16), now=NOW)
    root, targets = combine(new.root, signed(new.root)), combine(new.targets, signed(new.targets))
    trusted = TrustedApp.first(new.app_key, HEARTBEAT.beat([root], targets, NOW), NOW)
    for _ in range(2):
        rotation = rotate(trusted, signers, 3, heartbeat=heartbeat, now=NOW)
        trusted = beat(trusted, NOW, rotation.root, rotation.targets)
    return beat(trusted, NOW, release(trusted, "1.0"))


def update_bytes(trusted: TrustedApp) -> int:
    """What is sent to a client that has all roots."""
    return len(trusted.metadata.since(trusted.root_version + 1, 1 << 20).encode())


def sizes(trusted: TrustedApp) -> None:
    later = beat(trusted, NOW + 86400, release(trusted, "1.1"))
    change = delegate_channel(later, "beta", [public("tess")], 1, now=NOW)
    channels = beat(later, NOW, change.targets, change.channel)
    channels = beat(channels, NOW, release(channels, "1.2b", "beta"))
    old = later
    for number in range(20):
        old = beat(old, NOW, release(old, f"2.{number}"))
    print("bytes:")
    for what, count in (
        ("no change: the gossiped timestamp", len(later.metadata.timestamp)),
        ("asked outright: timestamp, snapshot, targets", update_bytes(later)),
        ("... with a channel of its own signers", update_bytes(channels)),
        ("... after 20 more releases, with their log", update_bytes(old)),
        ("first install: three roots besides", len(later.metadata.encode())),
    ):
        print(f"  {what:50} {count:7}")


def cold(metadata: MetadataSet, app_key: bytes, runs: int) -> None:
    site = str(Path(ed25519_site()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metadata.benc"
        path.write_bytes(metadata.encode())
        program = [VERIFY, str(ROOT), str(path), app_key.hex()]
        print("cold, CPU ms over a bare interpreter:")
        for what, more in (("standard library only", []), ("with PyNaCl", [site])):
            bare = [took([sys.executable, "-I", "-S", "-c", "pass"]) for _ in range(runs)]
            full = [took([sys.executable, "-I", "-S", "-c", *program, *more]) for _ in range(runs)]
            print(f"  {what:50} {statistics.median(full) - statistics.median(bare):7.1f}")


def ed25519_site() -> Path:
    import nacl

    return Path(nacl.__file__).parents[1]


def took(command: list[str]) -> float:
    """CPU milliseconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def warm(trusted: TrustedApp, runs: int) -> None:
    later = beat(trusted, NOW + 86400, release(trusted, "1.1")).metadata
    part = later.since(trusted.root_version + 1, 1 << 20)
    steps = {
        "first install": lambda: TrustedApp.first(trusted.app_key, later, NOW + 86400),
        "update to a release": lambda: trusted.update(part, NOW + 86400),
        "a gossiped timestamp": lambda: trusted.check_timestamp(later.timestamp, NOW + 86400),
    }
    print("in a running process, with PyNaCl, ms:")
    for what, step in steps.items():
        taken = []
        for _ in range(runs):
            started = time.perf_counter()
            step()
            taken.append((time.perf_counter() - started) * 1000)
        print(f"  {what:50} {statistics.median(taken):7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    trusted = app()
    sizes(trusted)
    cold(trusted.metadata, trusted.app_key, runs)
    warm(trusted, runs)


if __name__ == "__main__":
    main()
