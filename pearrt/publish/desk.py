"""What this machine remembers of ceremonies: requests it drafted, reviews its person made, keys in waiting.

    <ceremonies>/<55-letter key>/<request digest>.request    drafted or reviewed here; answers are added
                                 <request digest>.committed  the same, once it was published
                                 <request digest>.reviewed   {"fingerprint", "at"}: these bytes were reviewed
                                 <request digest>.embargoed  its bundles are not served before their release
                                 <request digest>.room       {"link", "ours"}: it is in a release room
                                 <request digest>.posted-<key>  an answer given here, as the DHT is to hold it
                                 signed-<role>-<version>     {"digest", "fingerprint"} of what was signed here
                                 heartbeat-<key id>.json     a heartbeat key that no committed root names yet

Every file is replaced in one step. Only what a person did on this machine counts as reviewed here: a review
does not travel with a request.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.codec import bencode
from pearrt.dht.items import MutableItem
from pearrt.errors import Corrupt, PearrtError, UserError
from pearrt.link import Link, encode_key
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import heartbeat_file, heartbeat_files, read_heartbeat, write_heartbeat
from pearrt.publish.request import MAX_REQUEST_BYTES, Request
from pearrt.publish.room import Room
from pearrt.trust.metadata import Root

MAX_REVIEW_BYTES = 4096
MAX_ROOM_BYTES = 8192


@dataclass(frozen=True, slots=True)
class InRoom:
    """A request under way that is in a release room. `ours`: it was drafted here."""

    request: Request
    room: Room
    ours: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """One app's ceremonies on this machine."""

    folder: Path

    @classmethod
    def of(cls, ceremonies: Path, app_key: bytes) -> Desk:
        return cls(ceremonies / encode_key(app_key))

    def keep(self, request: Request) -> None:
        """Remembers a request with its answers."""
        write_file(self._file(request, "request"), request.encode())

    def embargo(self, request: Request) -> None:
        """Notes, before the request is kept, that its bundles are not to be served to reviewers."""
        write_file(self._file(request, "embargoed"), b"")

    def is_embargoed(self, request: Request) -> bool:
        """Whether the request's bundles are kept back until they are released."""
        return (self.folder / f"{request.digest.hex()}.embargoed").exists()

    def knows(self, request: Request) -> bool:
        """Whether this request is under way here; maybe with more answers."""
        return (self.folder / f"{request.digest.hex()}.request").exists()

    def keep_answers(self, request: Request) -> Request:
        """Keeps a request that is under way with its answers and those that were kept here meanwhile; gives
        it with all. Answers were checked before they came here."""
        held = self.find(request.digest) if self.knows(request) else None
        if held is None:
            return request
        both = {answer.public: answer for answer in (*held.answers, *request.answers)}
        merged = request.with_answers(both[public] for public in sorted(both))
        if merged.answers != held.answers:
            self.keep(merged)
        return merged

    def find(self, digest: bytes) -> Request | None:
        """The request with this digest, under way or published."""
        for kind in ("request", "committed"):
            with contextlib.suppress(PearrtError):
                return Request.decode(read_bounded(self.folder / f"{digest.hex()}.{kind}", MAX_REQUEST_BYTES))
        return None

    def requests(self) -> list[Request]:
        """Those that are under way, in order of their digests; what is damaged is left out."""
        return self._read("request")

    def committed(self) -> list[Request]:
        """Those that were published, the newest first; what is damaged is left out."""
        return sorted(self._read("committed"), key=lambda request: -request.version)

    def _read(self, kind: str) -> list[Request]:
        found = []
        for path in sorted(self.folder.glob(f"*.{kind}")) if self.folder.is_dir() else []:
            try:
                found.append(Request.decode(read_bounded(path, MAX_REQUEST_BYTES)))
            except PearrtError:
                continue  # a copy only: whoever has the file has the request
        return found

    def finish(self, request: Request) -> None:
        """Puts a request that was published away; it says what the version's bundles were."""
        write_file(self._file(request, "committed"), request.encode())
        self.forget(request)

    def forget(self, request: Request) -> None:
        """Drops a request that is out of date, and its review."""
        self.leave_room(request)
        for kind in ("request", "reviewed", "embargoed"):
            self._file(request, kind).unlink(missing_ok=True)

    def join_room(self, request: Request, link: str, *, ours: bool) -> None:
        """Notes that a request is in a room; `ours`: drafted here, where its answers are gathered."""
        write_file(self._file(request, "room"), json.dumps({"link": link, "ours": ours}).encode() + b"\n")

    def room_link(self, request: Request) -> str | None:
        """The link of the room that a request is in; None where there is none, or its note is damaged."""
        path = self.folder / f"{request.digest.hex()}.room"
        try:
            return str(json.loads(read_bounded(path, MAX_ROOM_BYTES))["link"]) if path.exists() else None
        except (PearrtError, ValueError, KeyError, TypeError):
            return None

    def leave_room(self, request: Request) -> None:
        """Forgets that a request is in a room, and what was posted from here."""
        self._file(request, "room").unlink(missing_ok=True)
        for path in self.folder.glob(f"{request.digest.hex()}.posted-*"):
            path.unlink(missing_ok=True)

    def rooms(self) -> list[InRoom]:
        """The requests under way that are in a room; what is damaged is left out."""
        found = []
        for path in sorted(self.folder.glob("*.room")) if self.folder.is_dir() else []:
            try:
                note = json.loads(read_bounded(path, MAX_ROOM_BYTES))
                room, ours = Room.parse(Link.parse(str(note["link"]))), bool(note["ours"])
                request = Request.decode(read_bounded(path.with_suffix(".request"), MAX_REQUEST_BYTES))
            except (PearrtError, ValueError, KeyError, TypeError):
                continue
            found.append(InRoom(request, room, ours))
        return found

    def keep_post(self, request: Request, item: MutableItem) -> None:
        """Keeps an answer as the DHT stores it, so that it can be stored again."""
        fields = {"k": item.public_key, "salt": item.salt, "seq": item.seq, "v": item.encoded}
        path = self._file(request, f"posted-{item.public_key.hex()[:16]}")
        write_file(path, bencode.encode(fields | {"sig": item.signature}))

    def posts(self, request: Request) -> list[MutableItem]:
        """What was posted from here; what is damaged is left out. Their signatures are not verified."""
        found = []
        for path in sorted(self.folder.glob(f"{request.digest.hex()}.posted-*")):
            with contextlib.suppress(PearrtError, KeyError, TypeError):
                fields = bencode.decode(read_bounded(path, MAX_REVIEW_BYTES))
                k, salt, seq, v, sig = (fields[name] for name in (b"k", b"salt", b"seq", b"v", b"sig"))
                found.append(MutableItem(k, salt, seq, v, sig))
        return found

    def reviewed(self, request: Request, words: str, now: float) -> None:
        """Records that the person saw a full review of this request."""
        record = {"fingerprint": words, "at": int(now)}
        write_file(self._file(request, "reviewed"), json.dumps(record).encode() + b"\n")

    def review_of(self, request: Request) -> str | None:
        """The fingerprint under which this very request was reviewed here, if it was. Raises Corrupt."""
        path = self.folder / f"{request.digest.hex()}.reviewed"
        if not path.exists():
            return None
        try:
            words = json.loads(read_bounded(path, MAX_REVIEW_BYTES))["fingerprint"]
        except (ValueError, KeyError, TypeError) as e:
            raise Corrupt(f"{path} is damaged.", hint="Review the request again.") from e
        return str(words)

    def note_signed(self, request: Request, words: str) -> None:
        """Records, before an answer leaves this machine, what it signs of each role and version."""
        self._prepare()
        record = json.dumps({"digest": request.digest.hex(), "fingerprint": words}).encode() + b"\n"
        for draft in request.drafts:
            write_file(self.folder / f"signed-{draft.role}-{draft.version}", record)

    def signed_instead(self, request: Request) -> str | None:
        """The fingerprint of another request of the same version that was signed here. Raises Corrupt.

        Were both published, everyone would see two statements of one version by the same keys.
        """
        for draft in request.drafts:
            path = self.folder / f"signed-{draft.role}-{draft.version}"
            if path.exists():
                try:
                    record = json.loads(read_bounded(path, MAX_REVIEW_BYTES))
                    digest, words = str(record["digest"]), str(record["fingerprint"])
                except (ValueError, KeyError, TypeError) as e:
                    raise Corrupt(f"{path} is damaged.", hint="Remove it if you know what you signed.") from e
                if digest != request.digest.hex():
                    return words
        return None

    def keep_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Keeps a new heartbeat key until a root that names it is committed."""
        self._prepare()
        write_heartbeat(self.folder, heartbeat)

    def heartbeat_for(self, root: Root) -> Heartbeat | None:
        """The waiting key that this root names, if it lies here. Raises Corrupt where it is damaged."""
        return read_heartbeat(root, self.folder) if heartbeat_files(self.folder, root) else None

    def forget_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Drops the waiting key, once it lies with the publication."""
        heartbeat_file(self.folder, heartbeat).unlink(missing_ok=True)

    def _file(self, request: Request, kind: str) -> Path:
        self._prepare()
        return self.folder / f"{request.digest.hex()}.{kind}"

    def _prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """A file from anywhere, of at most `max_bytes`. Raises UserError."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as e:
        raise UserError(f"Cannot read {path}: {e.strerror}.") from e
    if len(data) > max_bytes:
        raise UserError(f"{path} is too large for what it should be: more than {max_bytes >> 10} KiB.")
    return data
