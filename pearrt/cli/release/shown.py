"""A review as a person reads it, and as a script does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pearrt.cli.output import ago, printable, size
from pearrt.cli.release.request_file import describe
from pearrt.trust.shape import time_text

if TYPE_CHECKING:
    from pearrt.app.review import Findings
    from pearrt.publish.changes import FileChange, KeyChanges
    from pearrt.publish.request import Request

MAX_FILES_SHOWN = 200
_MARKS = {"added": "+", "changed": "~", "removed": "-"}


def review_fields(
    request: Request, findings: list[Findings], words: str, texts: dict[str, list[str]]
) -> dict[str, Any]:
    """The review for `--json`."""
    from pearrt.publish.changes import (
        channel_changes,
        key_changes,
        lifted_revocations,
        new_revocations,
        release_changes,
    )

    keys = key_changes(request)
    found = {each.change.path: each for each in findings}
    return describe(request) | {
        "fingerprint": words,
        "expires": time_text(request.expires),
        "releases": [
            {
                "path": change.path,
                "before": change.before.version if change.before else None,
                "after": change.after.version if change.after else None,
                "notes": change.after.notes if change.after else "",
                "security": bool(change.after and change.after.security),
                "min_runtime": change.after.min_runtime if change.after else "",
                **(_bundle_fields(found[change.path]) if change.path in found else {}),
            }
            for change in release_changes(request)
        ],
        "revoked": [_revocation_fields(each) for each in new_revocations(request)],
        "reinstated": [_revocation_fields(each) for each in lifted_revocations(request)],
        "keys": None if keys is None else _key_fields(keys),
        "channels": list(channel_changes(request)),
        "diffs": texts,
    }


def _revocation_fields(revocation: Any) -> dict[str, str]:
    return {
        "digest": revocation.index_digest.hex(),
        "action": revocation.action.value,
        "reason": revocation.reason,
    }


def _key_fields(keys: KeyChanges) -> dict[str, Any]:
    from pearrt.publish.changes import witness_changes

    return {
        "added": list(keys.added),
        "removed": list(keys.removed),
        "threshold": list(keys.threshold),
        "heartbeat_changed": keys.heartbeat_changed,
        "witnesses": list(witness_changes(keys)),
    }


def _bundle_fields(findings: Findings) -> dict[str, Any]:
    release = findings.change.after
    assert release is not None
    fates: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for change in findings.files:
        fates[change.fate.value].append(change.path)
    return {
        "digest": release.index_digest.hex(),
        "source": findings.source,
        "files": fates,
        "permissions": findings.permissions,
        "wider": findings.wider,
        "warnings": findings.warnings,
        "attested": findings.attested,
    }


def review_text(
    request: Request, findings: list[Findings], words: str, texts: dict[str, list[str]], now: float
) -> str:
    """The review for people; nothing in it can reach the terminal's controls."""
    from pearrt.publish.changes import (
        channel_changes,
        key_changes,
        lifted_revocations,
        new_revocations,
        release_changes,
    )

    lines = _head(request, now)
    for change in release_changes(request):
        before = change.before.version if change.before else "nothing"
        after = change.after.version if change.after else "nothing: it is withdrawn"
        lines += ["", f"{change.path}: {before} -> {after}"]
        if change.after is not None:
            lines += _release_lines(change.after)
        lines += [
            line
            for each in findings
            if each.change is change or each.change == change
            for line in _bundle_lines(each)
        ]
    lines += [
        f"revokes    {each.index_digest.hex()[:16]}…: {each.action.value}, {each.reason}"
        for each in new_revocations(request)
    ]
    lines += [f"reinstates {each.index_digest.hex()[:16]}…" for each in lifted_revocations(request)]
    lines += [f"channel    {line}" for line in channel_changes(request)]
    if (keys := key_changes(request)) is not None:
        lines += ["", *_key_lines(keys)]
    for path, diff in texts.items():
        lines += ["", *(diff or [f"{path} is the same as before."])]
    text = printable("\n".join([*lines, "", "read aloud"]))
    return f"{text} {click.style(words, bold=True)}"


def _head(request: Request, now: float) -> list[str]:
    fields = describe(request)
    lines = [
        f"request    {fields['title']}",
        f"app        {fields['link']}",
        f"signs      {', '.join(f'{draft.role} {draft.version}' for draft in request.drafts)}",
        f"expires    {time_text(request.expires)}",
        f"signatures {fields['signatures']}",
    ]
    if request.base is not None:
        current = request.base.targets
        confirmed = ago(max(0.0, now - request.base.timestamp.signed_at))
        lines.insert(3, f"follows    targets {current.version}, confirmed {confirmed} ago")
    return lines


def _release_lines(release: Any) -> list[str]:
    lines = []
    if release.security:
        lines.append("  security   a security release: nobody waits for a rollout")
    if release.min_runtime:
        lines.append(f"  needs      pearrt {release.min_runtime} or later")
    lines += [f"  rollout    {step.percent} % from {time_text(step.at)}" for step in release.rollout]
    notes = release.notes.splitlines() or ["none"]
    return [*lines, *(f"  {'notes' if at == 0 else '':<10} {line}" for at, line in enumerate(notes))]


def _bundle_lines(findings: Findings) -> list[str]:
    index, release = findings.after.index, findings.change.after
    assert release is not None
    counts = {
        fate: sum(each.fate.value == fate for each in findings.files)
        for fate in ("added", "changed", "removed")
    }
    lines = [
        f"  bundle     {len(index.files)} files, {size(index.tree_bytes)}, from {findings.source}",
        f"  index      {release.index_digest.hex()}",
        "             computed again from its blocks: it is the one that the request names",
        f"  files      {counts['added']} added, {counts['changed']} changed, {counts['removed']} removed",
    ]
    lines += [f"    {_file_line(each)}" for each in findings.files[:MAX_FILES_SHOWN]]
    if (more := len(findings.files) - MAX_FILES_SHOWN) > 0:
        lines.append(f"    … and {more} more; --json lists all")
    lines += [f"  WIDER      {line}" for line in findings.wider]
    lines += [f"  may        {line}" for line in findings.permissions if line not in findings.wider]
    lines += [f"  attested   {line}" for line in findings.attested]
    return [*lines, *(f"  LOOK       {line}" for line in findings.warnings)]


def _file_line(change: FileChange) -> str:
    sizes = [size(count) for count in (change.old_size, change.new_size) if count is not None]
    executable = "  executable" if change.executable else ""
    return f"{_MARKS[change.fate.value]} {change.path}  {' -> '.join(sizes)}{executable}"


def _key_lines(keys: KeyChanges) -> list[str]:
    from pearrt.publish.changes import witness_changes

    old, new = keys.threshold
    total = len(keys.added) + len(keys.kept)
    lines = [f"signers    + {name}" for name in keys.added] + [
        f"signers    - {name}" for name in keys.removed
    ]
    lines += [f"signers      {name}" for name in keys.kept]
    before = f"{old} of {len(keys.kept) + len(keys.removed)} -> " if old else ""
    lines.append(f"threshold  {before}{new} of {total}")
    if keys.heartbeat_changed:
        lines.append("heartbeat  a new key")
    lines += [f"witnesses  {line}" for line in witness_changes(keys)]
    if keys.uneven:
        lines.append("LOOK       not all roles are signed by the same people: pearrt drafts no such root")
    return lines
