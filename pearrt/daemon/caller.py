"""Requests of the local API by name: what the commands and `app.run` call."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pearrt.app.launch import Launchable
from pearrt.app.progress import Progress, Report, Stage, silent
from pearrt.daemon import endpoint
from pearrt.daemon.client import Client
from pearrt.errors import Denied, NoSuchApp, Unreachable
from pearrt.link import Link
from pearrt.sandbox.policy import Permissions

if TYPE_CHECKING:
    from pearrt.trust.release import Release
    from pearrt.web.site import SignedFile


class Daemon(Client):
    """A client with a method for each thing that the daemon does."""

    def install(
        self,
        link: Link,
        report: Report,
        *,
        update: bool = False,
        allow_stale: bool = False,
    ) -> dict[str, Any]:
        """Brings the app here, or up to date where `update`; see app/install.py for what it raises."""
        body = {"link": str(link), "update": update, "allow_stale": allow_stale}
        return dict(self.follow("POST", f"/v1/apps/{link.key_text}/install", body, event=_reporter(report)))

    def launch(self, link: Link) -> Launchable | None:
        """The installed release, ready to start; None where the app is not installed."""
        try:
            return Launchable.from_dict(
                self.call("POST", f"/v1/apps/{link.key_text}/launch", {"link": str(link)})
            )
        except NoSuchApp:
            return None

    def grant(self, link: Link, permissions: Permissions, refused: Collection[str] = ()) -> None:
        """The person's yes to `permissions`, less what they refused by name."""
        body = {"digest": permissions.digest().hex(), "refused": sorted(refused)}
        self.call("POST", f"/v1/apps/{link.key_text}/grant", body)

    def decline(self, link: Link, permissions: Permissions) -> None:
        """The person's no to a release that waits: it is not asked for again."""
        self.call("POST", f"/v1/apps/{link.key_text}/decline", {"digest": permissions.digest().hex()})

    def permissions(self, link: Link) -> dict[str, Any]:
        """What an installed app asks for and what it was given."""
        return dict(self.call("GET", f"/v1/apps/{link.key_text}/permissions"))

    def revoke(self, link: Link, names: Collection[str]) -> list[str]:
        """Takes permissions back at once, the whole approval where `names` is empty; gives what was taken."""
        body = {"names": sorted(names)}
        return list(self.call("POST", f"/v1/apps/{link.key_text}/revoke", body, once=True)["revoked"])

    def channel(self, app: Launchable) -> AbstractContextManager[int]:
        """The app's connection to the daemon as an open descriptor; while it is open the app counts as
        running."""
        return open_channel(app.channel_socket, app.channel_token)

    def attend(self, app: Launchable) -> AbstractContextManager[socket.socket | None]:
        """The connection on which the daemon asks for what the running app needs of the person; None where it
        takes none. Its channel has to be open."""
        return open_attendant(app.channel_socket, app.channel_token)

    def files(self, link: Link, digest: str) -> list[SignedFile]:
        """The signed files of an installed release, by its index digest."""
        from pearrt.web.site import SignedFile

        found = self.call("GET", f"/v1/apps/{link.key_text}/files?{urlencode({'digest': digest})}")
        return [SignedFile(path, size, bytes.fromhex(digest)) for path, size, digest in found]

    def apps(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/v1/apps"))

    def info(self, link: Link) -> dict[str, Any]:
        """All about one app; one that is not here is looked for."""
        return dict(self.call("GET", f"/v1/apps/{link.key_text}?{urlencode({'link': str(link)})}"))

    def seed(self, link: Link, report: Report = silent, *, allow_stale: bool = False) -> dict[str, Any]:
        """Brings the app's blocks here and seeds them without end."""
        body = {"link": str(link), "on": True, "allow_stale": allow_stale}
        return dict(self.follow("POST", f"/v1/apps/{link.key_text}/seed", body, event=_reporter(report)))

    def stop_seeding(self, link: Link) -> dict[str, Any]:
        return dict(self.call("POST", f"/v1/apps/{link.key_text}/seed", {"link": str(link), "on": False}))

    def publish(self, link: Link) -> dict[str, Any]:
        """Tells the daemon that the publication of this app was committed here: trust it, seed it, gossip
        it."""
        return dict(self.call("POST", f"/v1/apps/{link.key_text}/publish", {"link": str(link)}))

    def offer(self, link: Link, *, rooms_only: bool = False) -> list[str]:
        """Has the requests in release rooms, and the bundles of those on the desk, served to reviewers; gives
        the bundles that are here."""
        body = {"link": str(link), "rooms_only": rooms_only}
        return list(self.call("POST", f"/v1/apps/{link.key_text}/offer", body))

    def enter(self, link: Link) -> bytes:
        """The sealed request of the release room that the link leads to. Raises NoPeers."""
        found = self.call("POST", f"/v1/apps/{link.key_text}/enter", {"link": str(link)})
        return bytes.fromhex(found["block"])

    def post(self, link: Link, *, key: bytes, seq: int, value: bytes, signature: bytes) -> int:
        """Has the DHT hold a signer's answer, signed as an item; how many nodes took it. Raises
        Unreachable."""
        body = {"link": str(link), "key": key.hex(), "seq": seq}
        body |= {"value": value.hex(), "signature": signature.hex()}
        return int(self.call("POST", f"/v1/apps/{link.key_text}/post", body)["stored"])

    def gather(self, link: Link, signers: Collection[bytes]) -> list[tuple[bytes, bytes]]:
        """What these signers posted to a release room, unverified: public key and value each."""
        body = {"link": str(link), "signers": [public.hex() for public in signers]}
        found = self.call("POST", f"/v1/apps/{link.key_text}/gather", body)
        return [(bytes.fromhex(public), bytes.fromhex(value)) for public, value in found]

    def bring(self, link: Link, release: Release, report: Report, *, whole: bool) -> dict[str, Any]:
        """Fetches a bundle that need not be released, or its index alone, into the store. Raises NoPeers."""
        body = {
            "link": str(link),
            "digest": release.index_digest.hex(),
            "size": release.index_size,
            "index_blocks": [block.hex() for block in release.index_blocks],
            "whole": whole,
        }
        return dict(self.follow("POST", f"/v1/apps/{link.key_text}/bring", body, event=_reporter(report)))

    def uninstall(self, link: Link, *, keep_data: bool) -> None:
        self.call("DELETE", f"/v1/apps/{link.key_text}?keep_data={int(keep_data)}", once=True)

    def metadata(self, link: Link) -> dict[str, str]:
        """The signed metadata that is trusted, file name -> text."""
        return dict(self.call("GET", f"/v1/apps/{link.key_text}/metadata"))

    def log(self, link: Link) -> dict[str, Any]:
        """Every release of an app with who signed it, verified; one that is not here is looked for."""
        return dict(self.call("GET", f"/v1/apps/{link.key_text}/log?{urlencode({'link': str(link)})}"))

    def verify(self, link: Link, folder: Path | None = None) -> dict[str, Any]:
        """Checks what is installed, or a folder (an absolute path), against what was signed."""
        body = {} if folder is None else {"folder": str(folder)}
        return dict(self.call("POST", f"/v1/apps/{link.key_text}/verify", body))

    def stage(self, folder: Path, manifest: bytes, report: Report = silent, **options: Any) -> dict[str, Any]:
        """Cuts a prepared folder into blocks of the store; gives its digest and sizes."""
        body = {"folder": str(folder), "manifest": manifest.hex(), **options}
        return dict(self.follow("POST", "/v1/stage", body, event=_reporter(report)))

    def export(
        self, links: list[Link], file: Path, report: Report = silent, *, allow_stale: bool = False
    ) -> dict[str, Any]:
        """Writes the apps, the one to run first, to a `.pear` file; an absolute path."""
        body = {"links": "\n".join(map(str, links)), "file": str(file), "allow_stale": allow_stale}
        return dict(self.follow("POST", "/v1/export", body, event=_reporter(report)))

    def import_file(
        self, file: Path, report: Report = silent, *, allow_stale: bool = False, seed: bool = False
    ) -> dict[str, Any]:
        """Brings the apps of a `.pear` file here and installs the first; an absolute path."""
        body = {"file": str(file), "allow_stale": allow_stale, "seed": seed}
        return dict(self.follow("POST", "/v1/import", body, event=_reporter(report)))

    def gc(self, *, fsck: bool = False, dry_run: bool = False) -> dict[str, Any]:
        return dict(self.call("POST", "/v1/gc", {"fsck": fsck, "dry_run": dry_run}))

    def roll_back(self, link: Link) -> dict[str, Any]:
        """Steps an app back to its release before."""
        return dict(self.call("POST", f"/v1/apps/{link.key_text}/rollback", once=True))

    def runtime(self) -> dict[str, Any]:
        """All about pearrt's own versions."""
        return dict(self.call("GET", "/v1/runtime"))

    def update_runtime(self, report: Report = silent, *, retry: bool = False) -> dict[str, Any]:
        """Looks for a newer version of pearrt; where one is found, it takes over in a moment."""
        return dict(self.follow("POST", "/v1/runtime/update", {"retry": retry}, event=_reporter(report)))

    def roll_back_runtime(self) -> dict[str, Any]:
        return dict(self.call("POST", "/v1/runtime/rollback", once=True))

    def status(self) -> dict[str, Any]:
        return dict(self.call("GET", "/v1/status"))

    def stop(self) -> None:
        """Asks the daemon to end, where there still is one."""
        with contextlib.suppress(Unreachable):
            self.call("POST", "/v1/stop", start=False)


@contextlib.contextmanager
def open_channel(path: Path, token: bytes) -> Iterator[int]:
    """A connection to the apps' socket at `path`, opened by its token. Raises Denied and Unreachable."""
    with contextlib.ExitStack() as opened:
        try:
            channel = opened.enter_context(endpoint.connect(path))
            channel.sendall(token)
            answer = channel.recv(1)
        except OSError as e:
            raise Unreachable(f"The daemon has gone: {e.strerror or e}.", hint="Run the app again.") from e
        if answer != b"\x01":
            raise Denied("The daemon refused the app's channel.", hint="Run the app again.")
        yield channel.fileno()


@contextlib.contextmanager
def open_attendant(path: Path, token: bytes) -> Iterator[socket.socket | None]:
    """The attendant's connection beside the channel that `token` opened; None where none is taken."""
    from pearrt.daemon.attendant_token import attendant_token

    with contextlib.ExitStack() as opened:
        try:
            attendant = opened.enter_context(endpoint.connect(path))
            attendant.sendall(attendant_token(token))
            taken = attendant.recv(1) == b"\x01"
        except OSError:  # the daemon has gone; the app goes on without it
            taken = False
        yield attendant if taken else None


def _reporter(report: Report) -> Any:
    def event(name: str, fields: dict[str, Any]) -> None:
        if name == "progress":
            report(Progress(**{**fields, "stage": Stage(fields["stage"])}))

    return event
