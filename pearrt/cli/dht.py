"""`pearrt dht`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pearrt.cli.options import bootstrap_option
from pearrt.cli.output import Output, printable, speaking
from pearrt.errors import NoPeers, UserError
from pearrt.link import HostPort, Link, dht_topic, topic_of
from pearrt.paths import Home
from pearrt.settings import Settings

if TYPE_CHECKING:
    from pearrt.dht.service import DhtService

T = TypeVar("T")
TARGET_BYTES = 20


@click.group(name="dht")
def command() -> None:
    """Speak to the distributed hash table directly.

    Each command is a BitTorrent Mainline node of its own (BEP 5, 44) for as long as it runs, apart from the
    daemon.
    """


def _with_node(
    bootstrap: tuple[HostPort, ...], work: Callable[[DhtService], Awaitable[T]], port: int = 0
) -> T:
    """Runs `work` on a node that joins, does it and leaves; one that others cannot count on, so read-only
    (BEP 43)."""
    from pearrt.dht.service import DEFAULT_BOOTSTRAP, DhtService

    settings = Settings.load(Home.from_environment(), overrides={"bootstrap": bootstrap or None})
    nodes = DEFAULT_BOOTSTRAP if settings.bootstrap is None else settings.bootstrap
    listen = settings.listen or HostPort("0.0.0.0", 0)  # noqa: S104 - a node is to be reached

    async def run() -> T:
        bind = (listen.host, port)
        async with DhtService(bind=bind, bootstrap=nodes, read_only=port == 0) as dht:
            return await work(dht)

    return asyncio.run(run())


def _target(text: str) -> bytes:
    """40 hexadecimal digits, or a link, whose topic it then is. Raises UserError."""
    if len(text) == 2 * TARGET_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError as e:
            raise UserError(f"{text!r} is not hexadecimal.") from e
    return dht_topic(topic_of(Link.parse(text).app_key))


@speaking(name="node")
@click.option("--port", type=click.IntRange(1, 65535), default=6881, show_default=True, help="UDP port.")
@bootstrap_option
def node(output: Output, port: int, bootstrap: tuple[HostPort, ...]) -> None:
    """Run a DHT node until Ctrl-C: a first node for a network of your own."""

    async def work(dht: DhtService) -> dict[str, Any]:
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        output.say(f"node {dht.node_id.hex()} at {HostPort(*dht.address)}; Ctrl-C ends it")
        await stopped.wait()
        stats = dht.stats()
        return {"node_id": dht.node_id.hex(), "nodes": stats.contacts_v4 + stats.contacts_v6}

    found = _with_node(bootstrap, work, port)
    output.result(found, f"left, {found['nodes']} nodes known")


@speaking(name="lookup")
@click.argument("target")
@bootstrap_option
def lookup(output: Output, target: str, bootstrap: tuple[HostPort, ...]) -> None:
    """Find the nodes closest to TARGET and the peers announced there. TARGET is a link or 40 hexadecimal
    digits."""
    wanted = _target(target)

    async def work(dht: DhtService) -> dict[str, Any]:
        nodes = await dht.lookup(wanted)
        peers = [peer async for peer in dht.get_peers(wanted)]
        return {
            "target": wanted.hex(),
            "nodes": [{"id": each.node_id.hex(), "address": str(HostPort(*each.address))} for each in nodes],
            "peers": [str(HostPort(*peer)) for peer in peers],
        }

    found = _with_node(bootstrap, work)
    lines = [f"node {each['id']}  {each['address']}" for each in found["nodes"]]
    output.result(found, "\n".join(lines + [f"peer {peer}" for peer in found["peers"]]) or "nobody answers")


@speaking(name="announce")
@click.argument("target")
@click.argument("port", type=click.IntRange(1, 65535))
@bootstrap_option
def announce(output: Output, target: str, port: int, bootstrap: tuple[HostPort, ...]) -> None:
    """Announce this host as a peer of TARGET at TCP PORT, once; it is forgotten after 45 minutes."""
    wanted = _target(target)
    stored = _with_node(bootstrap, lambda dht: dht.announce(wanted, port, repeat=False))
    output.result({"target": wanted.hex(), "stored": stored}, f"{stored} nodes stored it")


@speaking(name="put")
@click.argument("value")
@click.option(
    "--seed-file", type=click.Path(path_type=Path), help="32-byte Ed25519 seed in hex: a mutable item."
)
@click.option("--salt", default="", help="Tells several items of one key apart.")
@click.option("--seq", type=int, help="Sequence number; by default one more than the newest.")
@click.option("--cas", type=int, help="Store only where the newest has this sequence number.")
@bootstrap_option
def put(
    output: Output,
    value: str,
    seed_file: Path | None,
    salt: str,
    seq: int | None,
    cas: int | None,
    bootstrap: tuple[HostPort, ...],
) -> None:
    """Store VALUE, at most 996 bytes: under its hash, or with --seed-file under a key, where it can
    change."""
    data = value.encode()
    if seed_file is None:
        if salt or seq is not None or cas is not None:
            raise UserError("--salt, --seq and --cas belong to a mutable item.", hint="Pass --seed-file too.")
        done = _with_node(bootstrap, lambda dht: dht.put_immutable(data))
    else:
        seed = _read_seed(seed_file)
        done = _with_node(
            bootstrap,
            lambda dht: dht.put_mutable(seed, data, salt=salt.encode(), seq=seq, cas=cas, republish=False),
        )
    result = {"target": done.target.hex(), "stored": done.stored, "seq": done.seq, "refused": done.refused}
    output.result(result, f"{done.stored} nodes stored {done.target.hex()}")


@speaking(name="get")
@click.argument("target")
@click.option("--salt", default="", help="With a key: which of its items.")
@bootstrap_option
def get(output: Output, target: str, salt: str, bootstrap: tuple[HostPort, ...]) -> None:
    """Print the item under TARGET: 40 hexadecimal digits of a hash, or 64 of an Ed25519 public key."""
    try:
        wanted = bytes.fromhex(target)
    except ValueError as e:
        raise UserError(f"{target[:80]!r} is not hexadecimal.") from e
    if len(wanted) == TARGET_BYTES:
        value, seq = _with_node(bootstrap, lambda dht: dht.get_immutable(wanted)), 0
    else:
        item = _with_node(bootstrap, lambda dht: dht.get_mutable(wanted, salt=salt.encode()))
        value, seq = (None, 0) if item is None else (item.value, item.seq)
    if value is None:
        raise NoPeers("No node has it.", hint="It may have expired, or the network is another one.")
    text = value.decode(errors="backslashreplace")
    output.result({"value": text, "hex": value.hex(), "seq": seq}, printable(text))


def _read_seed(path: Path) -> bytes:
    try:
        seed = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as e:
        raise UserError(f"Cannot read a seed from {path}: {e}.") from e
    if len(seed) != 32:
        raise UserError(f"{path} holds {len(seed)} bytes instead of 32.")
    return seed


for subcommand in (node, lookup, announce, put, get):
    command.add_command(subcommand)
