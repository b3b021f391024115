"""What an app imports inside the sandbox: `from pearrt import sdk`.

    sdk.app          who the app is, what it may do
    sdk.args         the person's arguments, and what the link carried
    sdk.updates      is there a newer version, be told, look now, start again
    sdk.storage      the private folder that updates leave in place, its size
    sdk.log          lines in the app's own log, outside the sandbox
    sdk.net          connections to the hosts of the permission `net.hosts`
    sdk.files        files that the person chooses
    sdk.clipboard    text on the person's clipboard
    sdk.page         the page of a web app, from its backend
    sdk.p2p          messages to the same app on other machines
    sdk.shelf        data that the app keeps on several of them
    sdk.desktop      open a page in the browser (asks the person), show a notification
    sdk.aio          the same for asyncio

Standard library only; the sandbox brings it, so a bundle need not. Nothing else of pearrt exists in there.
`VERSION` is this module's, as in semantic versioning; PROTOCOL is the channel's, which both sides negotiate
(`app.info`). All errors are `sdk.Error`; outside a sandbox calls raise `sdk.NotConnected`.

Each part is imported when it is first used: a start pays for what the app needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` would cost every start some milliseconds
if TYPE_CHECKING:
    from pearrt.sdk import (
        aio,
        app,
        args,
        clipboard,
        desktop,
        files,
        log,
        net,
        p2p,
        page,
        shelf,
        storage,
        updates,
    )
    from pearrt.sdk.desktop import notify, open_url
    from pearrt.sdk.errors import Denied, Error, NotConnected, TooMuch

VERSION = "1.2"
PROTOCOL = 1

_MODULES = frozenset(
    [
        "aio",
        "app",
        "args",
        "clipboard",
        "desktop",
        "files",
        "log",
        "net",
        "p2p",
        "page",
        "shelf",
        "storage",
        "updates",
    ]
)
_NAMES = {
    "notify": "desktop",
    "open_url": "desktop",
    "Denied": "errors",
    "Error": "errors",
    "NotConnected": "errors",
    "TooMuch": "errors",
}
__all__ = [
    "PROTOCOL",
    "VERSION",
    "Denied",
    "Error",
    "NotConnected",
    "TooMuch",
    "aio",
    "app",
    "args",
    "clipboard",
    "desktop",
    "files",
    "log",
    "net",
    "notify",
    "open_url",
    "p2p",
    "page",
    "shelf",
    "storage",
    "updates",
]


if not TYPE_CHECKING:  # what is misspelled is an error to type checkers

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in _NAMES:
            return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
