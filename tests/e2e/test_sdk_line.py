"""An app and the runtime beside it, with real processes: updates, restarts, permissions, revocation."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.link import Link
from tests.support.machine import PEARRT, Machine
from tests.support.team import Team

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

ROOT = Path(__file__).parents[2]
HEAD = """from pearrt import sdk
from pearrt.sdk.channel import channel
import json, os, queue, sys, time
"""


def stage(team: Team, body: str, version: str, permissions: str = "") -> str:
    """A bundle whose main() is `body`."""
    folder = team.work / "app"
    folder.mkdir(exist_ok=True)
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "told.py").write_text(f"{HEAD}def main():\n{indented}")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "told"\nversion = "{version}"\n[tool.pearrt]\nentry = "told:main"\n'
        + (f"[tool.pearrt.permissions]\n{permissions}\n" if permissions else "")
    )
    return team.stage(folder)


def release(team: Team, body: str, version: str, permissions: str = "", *options: str) -> None:
    digest = stage(team, body, version, permissions)
    team.machine.ok("release", "publish", team.link, digest, *options, *team.keys("alice"))


def revoke(team: Team, digest: str, *options: str) -> None:
    request, answer = team.work / "revoke.request", team.work / "revoke.answer"
    team.machine.ok("release", "revoke", team.link, digest, *options, "-o", str(request))
    team.machine.ok("release", "review", str(request))
    team.machine.ok("release", "sign", str(request), *team.keys("alice"), "-o", str(answer))
    team.machine.ok("release", "combine", str(request), str(answer))
    team.machine.ok("release", "commit", str(request.with_suffix(".signed")))


@contextlib.contextmanager
def running(machine: Machine, link: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`pearrt run` in the background, with pipes."""
    process = subprocess.Popen(
        [*PEARRT, "run", *options, link], env=machine.environ, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, process.stderr.read() if process.stderr else ""
    return json.loads(text)


def test_an_app_is_told_of_an_update_restarts_itself_and_the_person_sees_what_changed(
    machine: Machine, team: Team
) -> None:
    body = """
print(json.dumps(sdk.app.info().version), flush=True)
update = sdk.updates.wait(30)
print(json.dumps([update.version, update.notes, update.security, update.widens]), flush=True)
print(json.dumps(sdk.updates.status().ready.version), flush=True)
sdk.updates.restart()
sys.exit(3)
"""
    release(team, body, "1.0")
    with running(machine, team.link, "--yes") as app:
        assert line(app) == "1.0"
        release(
            team, "print(json.dumps(['now', sys.argv[1:]])); sys.exit(5)", "2.0", "", "--notes", "It works."
        )
        assert line(app) == ["2.0", "It works.", False, False]
        assert line(app) == "2.0"
        assert line(app) == ["now", []]
        _, err = app.communicate(timeout=30)
        assert app.returncode == 5
    assert "told was updated: 1.0 -> 2.0" in err
    assert "It works." in err
    done = machine.pearrt("run", team.link)
    assert done.returncode == 5
    assert "updated" not in done.stderr


def test_the_sdk_answers_inside_the_real_sandbox(machine: Machine, team: Team) -> None:
    body = """
import asyncio
info = sdk.app.info()
usage = sdk.storage.usage()
(sdk.storage.path() / "note").write_bytes(os.urandom(100_000))
sdk.log.warning("first\\nline\\x1b[31m")
async def more():
    status, again, info = await asyncio.gather(
        sdk.aio.updates.status(), sdk.aio.storage.usage(), sdk.aio.app.info())
    await sdk.aio.log.write("info", "second")
    return [status.running, again.used_bytes, info.version]
found = {"name": info.name, "protocol": info.protocol, "quota": usage.quota_bytes, "aio": asyncio.run(more()),
         "link": info.link, "permissions": info.permissions, "args": sdk.args.argv(), "path": sdk.args.path()}
refused = {}
for name, call in {
    "notify": lambda: sdk.notify("a", "b"),
    "net": lambda: sdk.net.connect("example.com", 443),
    "open": lambda: sdk.open_url("https://example.com/"),
    "file": lambda: sdk.open_url("file:///etc/passwd"),
    "long": lambda: sdk.log.write("info", "x" * 4096) or channel().call("log.write", text="x" * 70000),
    "none": lambda: channel().call("no.such"),
}.items():
    try:
        call()
    except sdk.Error as e:
        refused[name] = [type(e).__name__, e.code, e.message]
found["refused"] = refused
print(json.dumps(found))
"""
    release(team, body, "1.0")
    found = json.loads(machine.run(team.link + "/page", "a", "b"))
    assert (found["name"], found["protocol"], found["quota"]) == ("told", 1, 1 << 30)
    assert found["aio"][0] == found["aio"][2] == "1.0"
    assert found["aio"][1] >= 100_000
    assert (found["args"], found["path"], found["permissions"]) == (["a", "b"], "page", [])
    assert found["link"] == team.link
    refused = found["refused"]
    assert {name: error[0] for name, error in refused.items()} == {
        "notify": "Denied", "net": "Denied", "open": "Denied", "file": "Error", "long": "TooMuch",
        "none": "Error",
    }  # fmt: skip
    [log] = machine.home.apps.glob("*/app.log")
    first, *_, last = log.read_text().splitlines()
    assert first.endswith("warning first | line\ufffd[31m")
    assert last.endswith(" info " + "x" * 4096)
    assert "info second" in log.read_text()


def test_a_revoked_permission_is_refused_at_once_and_the_running_app_is_told(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    body = """
def attempt():
    try:
        sdk.notify("hello", "<b>you</b>")
        return "shown"
    except sdk.Error as e:
        return e.code
print(json.dumps([attempt(), list(sdk.app.info().permissions)]), flush=True)
events = queue.Queue()
channel().listen(events.put)
event = events.get(timeout=30)
print(json.dumps([event, attempt(), list(sdk.app.info().permissions)]), flush=True)
"""
    machine.put_program(tmp_path / "bin", "notify-send", f'printf "%s\\n" "$@" >> {tmp_path}/notified')
    release(team, body, "1.0", 'notify = true\nnet.hosts = ["example.com:443"]')
    with running(machine, team.link, "--grant", "notify") as app:
        assert line(app) == ["shown", ["notify"]]
        assert machine.ok("permissions", "list", team.link)["permissions"] == {
            "example.com:443": "refused", "notify": "given",
        }  # fmt: skip
        assert machine.ok("permissions", "revoke", team.link, "notify")["revoked"] == ["notify"]
        assert line(app) == [{"event": "permission-revoked", "permission": "notify"}, "denied", []]
    assert (tmp_path / "notified").read_text().splitlines() == [
        "--app-name=told", "--expire-time=10000", "--", "told: hello", "&lt;b&gt;you&lt;/b&gt;",
    ]  # fmt: skip
    error = machine.refused("permissions", "revoke", team.link, "clipboard")
    assert "does not ask" in error["message"]
    machine.ok("permissions", "revoke", team.link)
    assert machine.refused("run", team.link)["code"] == "denied"


def test_a_wider_update_is_told_and_waits_and_a_restart_keeps_the_old_version(
    machine: Machine, team: Team
) -> None:
    body = """
print(json.dumps(len(os.listdir(sdk.storage.path()))), flush=True)
(sdk.storage.path() / str(time.time())).touch()
if len(os.listdir(sdk.storage.path())) == 1:
    update = sdk.updates.wait(30)
    print(json.dumps([update.version, update.widens]), flush=True)
    sdk.updates.restart()
"""
    release(team, body, "1.0")
    with running(machine, team.link, "--yes") as app:
        assert line(app) == 0
        release(team, "print(json.dumps('wider'))", "2.0", "notify = true")
        assert line(app) == ["2.0", True]
        assert line(app) == 1
        assert app.wait(30) == 0
    assert json.loads(machine.run(team.link, options=("--yes", "--update"))) == "wider"


def test_a_release_that_is_revoked_with_stop_ends_where_it_runs_and_starts_no_more(
    machine: Machine, team: Team
) -> None:
    body = """
import signal
events = queue.Queue()
channel().listen(events.put)
signal.signal(signal.SIGTERM, lambda *_: (print(json.dumps("saved"), flush=True), sys.exit(0)))
print(json.dumps("up"), flush=True)
print(json.dumps(events.get(timeout=30)), flush=True)
time.sleep(30)
"""
    release(team, body, "1.0")
    digest = machine.info(team.link)["digest"]
    with running(machine, team.link, "--yes") as app:
        assert line(app) == "up"
        options = ["--action", "stop", "--reason", "It eats files."]
        revoke(team, digest, *options)
        told = line(app)
        assert (told["event"], told["action"], told["reason"]) == ("revoked", "stop", "It eats files.")
        assert line(app) == "saved"
        _, err = app.communicate(timeout=30)
        assert app.returncode != 0
    assert "It eats files." in err
    assert "It eats files." in machine.refused("run", "--yes", team.link)["message"]


def test_an_app_that_only_starts_itself_again_is_stopped(machine: Machine, team: Team) -> None:
    release(team, "sdk.updates.restart()", "1.0")
    error = machine.refused("run", "--yes", team.link)
    assert "started itself" in error["message"]
    assert Link.parse(team.link)


def test_the_example_app_keeps_notes_and_says_what_it_may(machine: Machine, team: Team) -> None:
    digest = team.stage(ROOT / "examples" / "notes")
    team.machine.ok("release", "publish", team.link, digest, *team.keys("alice"))
    assert machine.run(team.link, "add", "buy", "milk") == "1. buy milk\n"
    assert machine.run(team.link) == "1. buy milk\n"
    said = machine.run(team.link, "about").splitlines()
    assert said[0] == "notes 1.0, may notify"
    assert said[1].endswith(f"of {16 << 20} bytes")
    assert said[2] == "newer: nothing"
