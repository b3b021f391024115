"""`pearrt info`."""

from __future__ import annotations

from typing import Any

from pearrt.cli.freshness import freshness_text
from pearrt.cli.options import Network, link_argument, network_options
from pearrt.cli.output import Output, printable, size, speaking
from pearrt.link import Link


@speaking(name="info")
@link_argument
@network_options
def command(output: Output, link: Link, network: Network) -> None:
    """Show who signs an app, its versions, peers and permissions."""
    info = network.daemon().info(network.hinted(link))
    output.result(info, lambda: _text(info))


def _text(info: dict[str, Any]) -> str:
    freshness = freshness_text(
        info["freshness"],
        info["confirmed_at"],
        info["confirmed_by"],
        info["newer_at"],
        in_dht=info["in_dht"],
    )
    rows = {
        "link": info["link"],
        "name": info["name"],
        "signers": f"{info['threshold']} of {len(info['signers'])}: {', '.join(info['signers'])}",
        "signed by": ", ".join(info["signed_by"]),
        "witnesses": _witnesses(info["witnesses"]),
        "newest": f"{info['newest']} (release {info['sequence']})" if info["newest"] else "none",
        "installed": info["version"] or "no",
        "before it": info["previous"] or "none kept",
        "waiting": info["pending"] and f"{info['pending']}: asks for more; `pearrt run --update` shows it",
        "held back": info["held_back"],
        "freshness": freshness,
        "warning": info["equivocation"] and f"its keys were misused: {info['contradiction']}",
        "keeps": _keeps(info["keeps"]),
        "files": info["places"].get("data", ""),
        "log": info["places"].get("log", ""),
        "running": str(info["running"]),
        "seeding": "without end" if info["seeding"] else "while the daemon runs",
        "received": size(info["bytes_in"]),
        "sent": size(info["bytes_out"]),
    }
    lines = [f"{name:<10} {printable(text)}" for name, text in rows.items() if text]
    if info["permissions"]:
        lines += ["may"] + [f"  - {printable(line)}" for line in info["permissions"]]
    lines += [f"peers      {len(info['peers'])}"] + [f"  {_peer(peer)}" for peer in info["peers"]]
    return "\n".join(lines)


def _keeps(kept: dict[str, int]) -> str:
    what = {"data": "private files", "shelf": "its shelf"}
    counted = {name: "too much to count" if used < 0 else size(used) for name, used in kept.items() if used}
    return ", ".join(f"{used} in {what[name]}" for name, used in counted.items())


def _witnesses(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    seen = f"; seen by {', '.join(found['seen_by'])}" if found["seen_by"] else ""
    return f"{found['threshold']} of {len(found['names'])}: {', '.join(found['names'])}{seen}"


def _peer(peer: dict[str, Any]) -> str:
    host, port = peer["address"]
    return f"{peer['peer_id'][:8]}  {host}:{port}  in {size(peer['bytes_in'])}, out {size(peer['bytes_out'])}"
