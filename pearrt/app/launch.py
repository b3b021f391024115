"""What the daemon tells the person's side about an app that is ready to start."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pearrt.app.record import News
from pearrt.bundle.manifest import Manifest
from pearrt.link import Link, decode_key
from pearrt.sandbox.policy import Permissions

if TYPE_CHECKING:
    from pearrt.sandbox.launch import Launch


@dataclass(frozen=True, slots=True)
class Launchable:
    """An installed release with all that is needed to ask the person and to start it.

    `pending_…` is a newer release that waits, as it asks for more than was granted. `channel_socket` and
    `channel_token` open the app's one way out: whoever presents the token is this app. `revoked` is why its
    signers warn of this release, where they do. `refused` is what the person did not give of `permissions`,
    `pending_declined` that they said no to the waiting release, `news` what changed since the last start;
    `approved_before` and `kind_before`, of the waiting release, are what the installed one asks for and is.
    """

    key_text: str
    version: str
    folder: Path
    data: Path
    bytecode: Path
    manifest: Manifest
    granted: bool
    signers: tuple[str, ...]
    signed_by: tuple[str, ...]
    threshold: int
    freshness: str
    confirmed_at: int
    channel_socket: Path
    channel_token: bytes
    confirmed_by: int = 0
    newer_at: int | None = None
    contradiction: str = ""
    pending_version: str = ""
    pending_manifest: Manifest | None = None
    revoked: str = ""
    pending_declined: bool = False
    refused: tuple[str, ...] = ()
    news: News | None = None
    approved_before: Permissions | None = None
    kind_before: str = ""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def pending(self) -> Launchable | None:
        """The waiting release as something to approve; it cannot be started yet."""
        if self.pending_manifest is None:
            return None
        return replace(
            self,
            version=self.pending_version,
            manifest=self.pending_manifest,
            pending_manifest=None,
            granted=False,
            approved_before=self.permissions,
            kind_before=self.manifest.kind,
        )

    @property
    def permissions(self) -> Permissions:
        """What the release asks for."""
        return Permissions.parse(self.manifest.permissions)

    @property
    def allowed(self) -> Permissions:
        """What of it the person gave."""
        return self.permissions.without(self.refused)

    def sandboxed(self, argv: Sequence[str], link: Link, channel_fd: int | None) -> Launch:
        """What the sandbox is asked to start."""
        from pearrt.sandbox.launch import Launch

        return Launch(
            app_key=decode_key(self.key_text),
            manifest=self.manifest,
            folder=self.folder,
            data=self.data,
            permissions=self.allowed,
            argv=tuple(argv),
            env={"PEARRT_APP_LINK_PATH": link.path, "PEARRT_APP_LINK_FRAGMENT": link.fragment},
            channel_fd=channel_fd,
            bytecode=self.bytecode,
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON of the local API."""
        return {
            "key": self.key_text,
            "version": self.version,
            "folder": str(self.folder),
            "data": str(self.data),
            "bytecode": str(self.bytecode),
            "manifest": _text_of(self.manifest),
            "granted": self.granted,
            "signers": list(self.signers),
            "signed_by": list(self.signed_by),
            "threshold": self.threshold,
            "freshness": self.freshness,
            "confirmed_at": self.confirmed_at,
            "confirmed_by": self.confirmed_by,
            "newer_at": self.newer_at,
            "contradiction": self.contradiction,
            "channel_socket": str(self.channel_socket),
            "channel_token": self.channel_token.hex(),
            "pending_version": self.pending_version,
            "pending_manifest": _text_of(self.pending_manifest),
            "revoked": self.revoked,
            "pending_declined": self.pending_declined,
            "refused": list(self.refused),
            "news": None if self.news is None else asdict(self.news),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Launchable:
        """The inverse of `as_dict`; the daemon is trusted, it is the same user's."""
        pending = fields["pending_manifest"]
        return cls(
            key_text=fields["key"],
            version=fields["version"],
            folder=Path(fields["folder"]),
            data=Path(fields["data"]),
            bytecode=Path(fields["bytecode"]),
            manifest=Manifest.decode(b64decode(fields["manifest"])),
            granted=fields["granted"],
            signers=tuple(fields["signers"]),
            signed_by=tuple(fields["signed_by"]),
            threshold=fields["threshold"],
            freshness=fields["freshness"],
            confirmed_at=fields["confirmed_at"],
            confirmed_by=fields.get("confirmed_by", 0),
            newer_at=fields.get("newer_at"),
            contradiction=fields.get("contradiction", ""),
            channel_socket=Path(fields["channel_socket"]),
            channel_token=bytes.fromhex(fields["channel_token"]),
            pending_version=fields["pending_version"],
            pending_manifest=pending and Manifest.decode(b64decode(pending)),
            revoked=fields.get("revoked", ""),
            pending_declined=fields.get("pending_declined", False),
            refused=tuple(fields.get("refused", ())),
            news=News(**news) if (news := fields.get("news")) else None,
        )


def _text_of(manifest: Manifest | None) -> str | None:
    return None if manifest is None else b64encode(manifest.encode()).decode()
