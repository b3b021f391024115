"""The local API from the caller's side: synchronous and light, so that `pearrt run` starts at once.

The daemon is started when it is not there. Requests are HTTP over its Unix socket, or what stands for one
(`endpoint.py`); long work is answered by server-sent events that end with `result` or `error`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pearrt.daemon import endpoint
from pearrt.daemon.credentials import peer_credentials
from pearrt.daemon.own_command import own_command
from pearrt.errors import Locked, PearrtError, PeerTimeout, Unreachable, from_dict
from pearrt.paths import Home
from pearrt.runtime import starts
from pearrt.runtime.layout import RuntimeFolder, command, running

if TYPE_CHECKING:
    from subprocess import Popen

START_TIMEOUT_S = 20.0
POLL_S = 0.01
RETRY_S = 0.2
REPEAT_FOR_S = 10.0  # a request that found a daemon on its way out
MAX_EVENT_BYTES = 1 << 20
NOT_TAKEN = 503  # the daemon makes way for another, which will answer

Event = Callable[[str, dict[str, Any]], None]


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("pearrt")
        self.path = path

    def connect(self) -> None:
        self.sock = endpoint.connect(self.path)


class Client:
    """One caller of one daemon. `environ` goes to the daemon where it has to be started."""

    def __init__(self, home: Home, *, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.environ = dict(os.environ if environ is None else environ)

    # -- the daemon itself

    def running(self) -> bool:
        """Whether a daemon answers on the socket."""
        return self._listener() is not None

    def _listener(self) -> int | None:
        """The process that listens on the socket, 0 where the system does not say; None when nobody does."""
        try:
            probe = endpoint.connect(self.home.socket)
        except OSError:
            return None
        with probe:
            return peer_credentials(probe)[0] if hasattr(socket, "SO_PEERCRED") else 0

    def ended(self) -> bool:
        """Whether no daemon has this home any more: its lock is free, whatever became of its process."""
        from pearrt.store.layout import Layout
        from pearrt.store.lock import ProcessLock

        lock = ProcessLock(Layout(self.home.store).lock)
        try:
            lock.acquire()
        except FileNotFoundError:
            return True
        except Locked:
            return False
        lock.release()
        return True

    def ensure(self) -> None:
        """Starts the daemon unless one answers. Raises Unreachable, with the end of its log, if it does not
        come up."""
        if not self.running():
            self.start()

    def start(self) -> None:
        """Starts the daemon and waits until it answers. One that is just ending is waited for; several
        starters make one."""
        self.home.prepare()
        deadline = time.monotonic() + START_TIMEOUT_S
        process, trial = self._spawn()
        while (listener := self._listener()) is None:
            if time.monotonic() > deadline:
                process.terminate()
                raise PeerTimeout(
                    f"The daemon did not answer in {START_TIMEOUT_S:.0f} s.", hint=_log_end(self.home.log)
                )
            if process.poll() in (
                starts.EXIT_LOCKED,
                0,
            ):  # by a faster one, or one that ends; or stopped at once
                time.sleep(RETRY_S)
                if not self.running():
                    process, trial = self._spawn()
            elif process.poll() is not None and self._to_be_tried_again(process, trial):
                process, trial = self._spawn()
            elif process.poll() is not None:
                raise _does_not_start(self.home.log)
            time.sleep(POLL_S)
        if listener not in (0, process.pid) and process.poll() is None:
            process.terminate()  # somebody else's was faster; ours must not take over when that one ends

    def _spawn(self) -> tuple[Popen[bytes], str]:
        """A daemon process, and its version where that is on trial. One of pearrt's own versions starts the
        one that its state names, and any other pearrt itself."""
        import subprocess

        line, trial = own_command("pearrt.daemon"), ""
        if running(self.home.data):
            chosen = RuntimeFolder(self.home.data).choose()
            line = command(self.home.data, chosen.runs, [], module="pearrt.daemon")
            trial = chosen.trial
        with self.home.log.open("ab") as log:
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                cwd="/",
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows: a console of its own
                | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        return process, trial

    def _to_be_tried_again(self, process: Popen[bytes], trial: str) -> bool:
        """A daemon has ended by itself: notes how, and says whether its version has given way to the one
        before it because of that, or as one on trial soon will."""
        if not running(self.home.data):
            return False
        folder = RuntimeFolder(self.home.data)
        before = folder.read()
        starts.saw_end(folder.starts, process.pid, process.returncode, trial=trial)
        return bool(trial) or folder.choose().current != before.current

    # -- requests

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        start: bool = True,
        once: bool = False,
    ) -> Any:
        """One request, its JSON result. Raises the daemon's error as the class it was there, and Unreachable
        where no daemon answers. `start`: where none runs, one is started. `once`: to do it twice is something
        else than to do it once."""
        with self._answer(method, path, body, start=start, once=once) as response:
            return _result(response.status, response.read())

    def follow(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, event: Event) -> Any:
        """A long request: `event(name, fields)` for each step, then its result. Raises as `call` does."""
        with self._answer(method, path, body) as response:
            if response.getheader("Content-Type", "").split(";")[0] != "text/event-stream":
                return _result(response.status, response.read())
            for name, fields in _events(response):
                if name == "result":
                    return fields.get("result")
                if name == "error":
                    raise from_dict(fields)
                event(name, fields)
        raise Unreachable("The daemon ended in the middle of its work.", hint=self._again())

    @contextlib.contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        start: bool = True,
        once: bool = False,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request. Where the daemon ends before it answers, by its own will or killed, the
        request goes to the next one; one to be done `once` only if nothing of it was taken."""
        connection = _Connection(self.home.socket)
        data = None if body is None else json.dumps(body)
        deadline = time.monotonic() + REPEAT_FOR_S
        try:
            while (response := self._ask(connection, method, path, data, start=start, once=once)) is None:
                if time.monotonic() > deadline:
                    raise Unreachable("The daemon does not answer.", hint=self._again())
                connection.close()
                time.sleep(POLL_S)
            yield response
        except http.client.RemoteDisconnected as e:
            raise Unreachable("The daemon ended before it answered.", hint=self._again()) from e
        except (OSError, http.client.HTTPException) as e:
            raise Unreachable(
                f"The daemon does not answer: {e}.", hint="`pearrt daemon status` tells more."
            ) from e
        finally:
            connection.close()

    def _again(self) -> str:
        return f"Try again: what was done so far is kept. {self.home.log} may tell why."

    def _ask(
        self, connection: _Connection, method: str, path: str, data: str | None, *, start: bool, once: bool
    ) -> http.client.HTTPResponse | None:
        """One try; None where nothing came of it and another one may. Raises OSError and HTTPException."""
        if start:
            self.ensure()
        try:
            connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
        except OSError as e:
            if start and (not once or _was_not_taken(e)):
                return None
            raise
        return None if response.status == NOT_TAKEN else response


def _was_not_taken(error: OSError) -> bool:
    """Whether the daemon certainly did nothing about a request. A Unix socket is reset only when what was
    sent had not been read; a TCP connection also otherwise."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return True
    if endpoint.by_port() or isinstance(error, http.client.RemoteDisconnected):
        return False
    return isinstance(error, ConnectionResetError | BrokenPipeError)


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events (WHATWG HTML, 9.2): blocks of `event:` and `data:` lines."""
    name = ""
    while line := response.readline(MAX_EVENT_BYTES):
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


def _result(status: int, data: bytes) -> Any:
    try:
        fields = json.loads(data)
    except ValueError as e:
        raise PearrtError(f"The daemon answered {status} with no JSON.") from e
    if status >= 400:
        raise from_dict(fields["error"])
    return fields["result"]


def _does_not_start(log: Path) -> Unreachable:
    """What the daemon said as it ended, else the end of its log."""
    said = dict(line.partition(": ")[::2] for line in _last_lines(log)[-2:])
    if "error" in said:
        return Unreachable(f"The daemon does not start. {said['error']}", hint=said.get("hint", ""))
    return Unreachable("The daemon does not start.", hint=_log_end(log))


def _log_end(log: Path) -> str:
    return f"The end of {log}: " + " / ".join(lines) if (lines := _last_lines(log)) else ""


def _last_lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-3:]
    except OSError:
        return []
