"""The names under which the store keeps an app's blocks from gc. `<key>` is the app's, in 55 letters.

<key>-<index digest>            a release and its index
log-<key>                       the log of releases
room-<key>-<block>              a sealed request of a release room
review-<key>-<index digest>     a bundle that a request on this machine's desk names
staged-<index digest>           a bundle that was staged here, for whatever app
"""

from __future__ import annotations

from pearrt.link import encode_key
from pearrt.store.service import Store


def of_releases(app_key: bytes) -> str:
    """What the pins of all releases begin with; a digest in hex follows, as after the next two."""
    return f"{encode_key(app_key)}-"


def of_rooms(app_key: bytes) -> str:
    return f"room-{encode_key(app_key)}-"


def of_reviews(app_key: bytes) -> str:
    return f"review-{encode_key(app_key)}-"


def of_log(app_key: bytes) -> str:
    """The one pin of the log."""
    return f"log-{encode_key(app_key)}"


def of_staged(index_digest: str) -> str:
    return f"staged-{index_digest}"


def pinned(store: Store, prefix: str) -> list[str]:
    """What follows `prefix` in the names of the pins that begin with it."""
    return [name.removeprefix(prefix) for name in store.pins() if name.startswith(prefix)]


def unpin_all(store: Store, app_key: bytes) -> None:
    """Lets go of all that is kept for the app; gc frees it."""
    for name in store.pins():
        if encode_key(app_key) in name:
            store.unpin(name)
