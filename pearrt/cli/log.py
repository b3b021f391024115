"""`pearrt log`."""

from __future__ import annotations

import time
from typing import Any

from pearrt.cli.options import Network, link_argument, network_options
from pearrt.cli.output import Output, printable, speaking
from pearrt.link import Link


@speaking(name="log")
@link_argument
@network_options
def command(output: Output, link: Link, network: Network) -> None:
    """List every release of an app with who signed it, verified.

    Each release commits to all before it, so that everyone sees the same list: nobody can be given a release
    that the others never saw without leaving a proof. The list is verified from the link alone.
    """
    found = network.daemon().log(network.hinted(link))
    output.result(found, lambda: _text(found))
    if found["equivocation"]:
        output.say("Warning: this app's keys signed two contradicting statements. `pearrt info` tells more.")


def _text(found: dict[str, Any]) -> str:
    lines = [line for entry in found["entries"] for line in _lines(entry)]
    for channel, entries in found["channels"].items():
        lines += [f"channel {channel}:", *(line for entry in entries for line in _lines(entry))]
    if found["missing"]:
        lines.append(f"{found['missing']} earlier releases are known by their hashes only: no peer had them.")
    if found["root"] is None:
        lines.append("This app keeps no log of its releases: only the newest can be verified.")
    else:
        lines.append(f"log of what was said before it: size {found['size']}, root {found['root']}")
    if found["witnesses"]:
        seen_by = ", ".join(found["witnesses"]["seen_by"]) or "nobody yet, as it says nothing"
        lines.append(f"seen in whole by the witnesses: {seen_by} ({found['witnesses']['threshold']} needed)")
    return "\n".join(map(printable, lines))


def _lines(entry: dict[str, Any]) -> list[str]:
    if not entry["known"]:
        return [f"{entry['sequence']:>5}  ?  {entry['leaf']}"]
    signed = f"signed by {', '.join(entry['signed_by'])} ({entry['threshold']} needed)"
    changes = [_release(each) for each in entry["released"]]
    changes += [f"{path} was withdrawn" for path in entry["withdrawn"]]
    changes += [f"{digest[:12]} is revoked" for digest in entry["revoked"]]
    first, *others = changes or ["no release" if entry["sequence"] == 1 else "renewed"]
    return [f"{entry['sequence']:>5}  {first}, {signed}", *(f"       {other}" for other in others)]


def _release(release: dict[str, Any]) -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(release["released_at"]))
    return f"{release['name']} {release['version']} ({release['path']}, {day}, {release['digest'][:12]})"
