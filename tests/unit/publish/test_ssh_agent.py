"""Signing through an SSH agent: a real ssh-agent, and agents that lie."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, PearrtError, ProtocolViolation, Unreachable, UserError
from pearrt.publish.ceremony import collect
from pearrt.publish.publication import Publication
from pearrt.publish.room import Room, gather, post
from pearrt.publish.signers import answer, pick
from pearrt.publish.ssh_agent import MAX_MESSAGE_BYTES, SshAgent
from pearrt.publish.ssh_key import blob_of, parse_ssh_key, string
from tests.support.machine import wait_for
from tests.support.require import require
from tests.unit.publish.ceremony import release_request
from tests.unit.publish.conftest import NOW, public_of, seed_of


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Unix socket's path must be short."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="agt") as folder:
        yield Path(folder) / "s"


@pytest.fixture
def real_agent(short_path: Path) -> Iterator[Path]:
    require("ssh-agent", "ssh-add", "ssh-keygen")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(short_path)], stdout=subprocess.DEVNULL)
    try:
        wait_for(short_path.exists, "the agent's socket")
        yield short_path
    finally:
        process.terminate()
        process.wait()


def add_key(agent: Path, folder: Path, kind: str = "ed25519", comment: str = "zoe") -> str:
    """The public line of a new key that the agent holds."""
    secret = folder / f"id_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", str(secret)], check=True)
    environ = os.environ | {"SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", str(secret)], check=True, env=environ, stderr=subprocess.DEVNULL)
    return secret.with_suffix(".pub").read_text()


def test_a_real_agent_signs_raw_bytes_with_its_ed25519_key(real_agent: Path, tmp_path: Path) -> None:
    add_key(real_agent, tmp_path, "ecdsa")
    public = parse_ssh_key(add_key(real_agent, tmp_path))
    assert public.comment == "zoe"
    (key,) = SshAgent(str(real_agent)).ed25519_keys()
    assert key.public_key == public
    for payload in (b"", b'{"_type":"targets"}', b"x" * 200_000):
        assert ed25519.verify(public.key, payload, key.sign(payload))


def test_a_key_in_a_real_agent_answers_a_request(real_agent: Path, tmp_path: Path) -> None:
    from pearrt.publish.app import new_app
    from pearrt.publish.request import Request

    zoe = parse_ssh_key(add_key(real_agent, tmp_path))
    new = new_app([zoe, public_of("ada")], 1, heartbeat=public_of("hb").key, app_id=bytes(16), now=NOW)
    request = Request.of_new_app(new.root, new.targets)
    key = pick(request, SshAgent.from_environment({"SSH_AUTH_SOCK": str(real_agent)}).ed25519_keys())
    assert len(collect(request, [answer(request, key)]).answers) == 1
    room = Room.of(request, bytes(16))
    item = post(room, answer(request, key), key, 1)
    assert item.verifies()
    assert gather(room, request, [(item.public_key, item.value)]).came == ("zoe",)


def test_a_real_agent_that_does_not_hold_the_key_refuses(real_agent: Path) -> None:
    with pytest.raises(UserError, match="refused"):
        SshAgent(str(real_agent)).sign(public_of("ada").key, b"anything")


def test_none_of_the_agents_keys_may_sign(publication: Publication) -> None:
    with pytest.raises(UserError, match="None of the agent's keys") as caught:
        pick(release_request(publication), [])
    assert "ada" in caught.value.hint


def test_no_agent_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="SSH_AUTH_SOCK") as caught:
        SshAgent.from_environment({})
    assert "ssh-add" in caught.value.hint
    with pytest.raises(Unreachable):
        SshAgent(str(tmp_path / "nothing")).ed25519_keys()


def test_more_than_an_agent_takes_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="256 KiB"):
        SshAgent(str(tmp_path / "nothing")).sign(public_of("ada").key, bytes(MAX_MESSAGE_BYTES))


@contextlib.contextmanager
def agent_that_says(path: Path, reply: Callable[[bytes], bytes]) -> Iterator[SshAgent]:
    """An agent that answers one request with `reply(its body)`, whatever that is."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                size = int.from_bytes(connection.recv(4), "big")
                body = b""
                while len(body) < size:
                    body += connection.recv(size - len(body))
                connection.sendall(reply(body))

        thread = threading.Thread(target=serve)
        thread.start()
        yield SshAgent(str(path))
        thread.join()


ADA = blob_of(public_of("ada").key)
LISTS = {
    "nothing": b"",
    "a length and no more": bytes([0, 0, 0, 9]),
    "too long": (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big") + b"\x0c",
    "four gigabytes": b"\xff\xff\xff\xff\x0c",
    "empty": bytes(4),
    "a failure": string(b"\x05"),
    "many keys": string(b"\x0c" + b"\xff\xff\xff\xff"),
    "a key that is not there": string(b"\x0c" + bytes([0, 0, 0, 1])),
    "a blob that overruns": string(b"\x0c" + bytes([0, 0, 0, 1]) + b"\x00\x00\xff\xff" + ADA),
    "a short key": string(b"\x0c" + bytes([0, 0, 0, 1]) + string(ADA[:-1]) + string(b"")),
    "a small-order key": string(
        b"\x0c" + bytes([0, 0, 0, 1]) + string(blob_of(b"\1" + bytes(31))) + string(b"")
    ),
}


@pytest.mark.parametrize("what", LISTS)
def test_an_agent_that_lies_about_its_keys_is_a_clear_error(short_path: Path, what: str) -> None:
    with agent_that_says(short_path, lambda _: LISTS[what]) as agent, pytest.raises(PearrtError) as caught:
        agent.ed25519_keys()
    assert caught.value.exit_code == ProtocolViolation.exit_code


def test_terminal_escapes_in_an_agents_comments_do_not_pass(short_path: Path) -> None:
    listed = b"\x0c" + bytes([0, 0, 0, 1]) + string(ADA) + string(b"zoe\x1b[2J\xff" + b"x" * 500)
    with agent_that_says(short_path, lambda _: string(listed)) as agent:
        (key,) = agent.ed25519_keys()
    assert key.public_key.comment.isprintable()
    assert len(key.public_key.comment) <= 64


def test_a_signature_of_something_else_is_refused(short_path: Path) -> None:
    value = ed25519.sign(seed_of("ada"), b"another payload")
    said = string(b"\x0e" + string(string(b"ssh-ed25519") + string(value)))
    with agent_that_says(short_path, lambda _: said) as agent, pytest.raises(BadSignature):
        agent.sign(public_of("ada").key, b"this payload")


@pytest.mark.parametrize(
    "line",
    [
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ zoe",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t zoe",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNh zoe",
        "ssh-ed25519",
        "ssh-ed25519 not-base64 zoe",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== zoe",
        "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAABgQ== zoe",
    ],
)
def test_keys_that_cannot_sign_raw_bytes_are_no_signers(line: str) -> None:
    with pytest.raises(UserError):
        parse_ssh_key(line)
