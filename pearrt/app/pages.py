"""How an app with a page starts: who serves it, what runs behind it, when it is shown.

    web, no backend   the runtime serves the signed files until the person ends it; nothing is started
    web, a backend    the same, and the backend in the sandbox at the other end of a stream
    python with `ui`  the app serves its page itself, on a listening socket that it inherits; it is shown once
                      the app listens, and never where it does not

The page's server lives in the process that `pearrt run` is, so it ends with the run and serves the person who
started it. Imported for such apps only: it brings an HTTP server along.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from pearrt.app.launch import Launchable
from pearrt.sandbox import service as sandbox
from pearrt.sandbox.kinds import needs_sandbox, not_given
from pearrt.sandbox.launch import Launch
from pearrt.threads import start_without_signals
from pearrt.web.service import Page, PageServer
from pearrt.web.site import SignedFile, Site

Show = Callable[[str], None]  # opens the address, or tells it
POLL_S = 0.05


def has_page(launch: Launch) -> bool:
    """Whether this start needs `start` below instead of the sandbox's own."""
    return launch.manifest.kind == "web" or (launch.manifest.kind == "python" and launch.permissions.ui)


def start(
    launch: Launch,
    show: Show,
    *,
    files: Callable[[], Iterable[SignedFile]],
    channel: Callable[[], AbstractContextManager[int]] | None,
) -> int:
    """Runs an app with a page; gives its exit code. `files` are those of its index, `channel` opens one more
    connection of the app to the daemon, for the page; None where the app has no channel.

    Raises Denied where the person did not grant a page, and what the sandbox raises.
    """
    if not launch.permissions.ui:
        raise not_given(launch.manifest, "ui")
    if launch.manifest.kind != "web":
        return _serving_itself(launch, show)
    site = Site(files(), launch.manifest.entry.file)
    if not needs_sandbox(launch.manifest):
        with PageServer(Page(site, launch.folder, channel=_taken(launch.channel_fd))) as server:
            return _until_ended(server, show)
    ours, theirs = socket.socketpair()
    with theirs, channel() if channel is not None else contextlib.nullcontext() as second:
        page = Page(site, launch.folder, channel=_taken(second), backend=ours)
        with PageServer(page) as server:
            show(server.url)
            return sandbox.run(replace(launch, ui_fd=theirs.fileno()))


def _taken(fd: int | None) -> socket.socket | None:
    """The page's own handle of a connection that its opener closes."""
    return None if fd is None else socket.socket(fileno=socket.dup(fd))


def _until_ended(server: PageServer, show: Show) -> int:
    """Shows the page and waits for a signal: 128 + n for signal n, but Ctrl-C is how a person ends it."""
    if sys.platform == "win32":
        with contextlib.suppress(KeyboardInterrupt):
            show(server.url)
            while True:
                time.sleep(POLL_S)  # no wait there lets a Ctrl-C through
        return 0
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        show(server.url)
        number = signal.sigwait(ending)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return 0 if number == signal.SIGINT else 128 + number


def _serving_itself(launch: Launch, show: Show) -> int:
    with _listener() as (path, listener), PageServer(Page(forward=path)) as server:
        ended = threading.Event()
        watch = threading.Thread(target=_show_when_up, args=(path, server, show, ended), daemon=True)
        start_without_signals(watch)
        try:
            return sandbox.run(replace(launch, ui_fd=listener.fileno()))
        finally:
            ended.set()
            watch.join()


def _show_when_up(path: Path, server: PageServer, show: Show, ended: threading.Event) -> None:
    """The socket is bound here and connects only after the app has called listen."""
    while not ended.wait(POLL_S):
        with socket.socket(socket.AF_UNIX) as attempt, contextlib.suppress(OSError):
            attempt.connect(os.fspath(path))
            from pearrt.sandbox.supervise import terminal_free

            with terminal_free():  # in its own mode, and not into the app's lines
                show(server.url)
            return


@contextlib.contextmanager
def _listener() -> Iterator[tuple[Path, socket.socket]]:
    """A socket that the app will listen on, bound in a private folder: nobody else of the machine gets in."""
    with (
        tempfile.TemporaryDirectory(prefix="pearrt-page-") as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        path = Path(folder, "page.sock")
        listener.bind(os.fspath(path))
        yield path, listener


def another_channel(
    launchable: Callable[[], Launchable | None], connect: Callable[[Launchable], AbstractContextManager[int]]
) -> Callable[[], AbstractContextManager[int]]:
    """Opens one more connection of the app to the daemon: each token is good for one."""

    @contextlib.contextmanager
    def open_channel() -> Iterator[int]:
        app = launchable()
        assert app is not None, "running, yet nothing to launch"
        with connect(app) as fd:
            yield fd

    return open_channel
