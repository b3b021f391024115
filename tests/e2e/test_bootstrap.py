"""The bootstrapper on machines with nothing but Python: from one small file to a running app, whatever is
missing on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pearrt.app.followed import read_index
from pearrt.bundle.pear_file import PearFile, write_pear
from pearrt.bundle.verify import verify_tree
from pearrt.link import HostPort
from pearrt.publish.pyz import build, write_pyz
from pearrt.runtime.layout import RuntimeFolder
from pearrt.store.service import Store
from pearrt.trust.app import TrustedApp
from tests.support.bootstrapping import SAID, VERSION, Fresh, Network
from tests.support.machine import Machine, wait_for
from tests.support.static_runtime import StaticRuntime

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

DEAD = [HostPort("127.0.0.1", 9), HostPort("127.0.0.1", 7)]
KILLS = 40


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="module")
def pear(network: Network) -> Path:
    """The app and the runtime in one file."""
    path = network.folder / "app.pear"
    network.second.ok("export", str(network.app), str(path))
    with PearFile(path) as app, Store(network.first.home.store, read_only=True) as store:
        trusted = _trusted(network)
        blocks = {block_id: app.block(block_id) for block_id in app.block_ids()}
        blocks |= {block_id: store.get(block_id) for block_id in _blocks_of(trusted, store)}
        metadata = {network.app.app_key: app.metadata(network.app.app_key)}
        metadata[network.runtime.app_key] = trusted.metadata.encode()
    write_pear(path, [str(network.app), str(network.runtime)], metadata, sorted(blocks.items()))
    return path


def _trusted(network: Network) -> TrustedApp:
    key = network.runtime.app_key
    return TrustedApp.restore(
        key, (network.first.home.apps / network.runtime.key_text / "trust.benc").read_bytes()
    )


def _blocks_of(trusted: TrustedApp, store: Store) -> list[bytes]:
    release = trusted.releases[0]
    index = read_index(store, release.index_digest, release.index_blocks)
    return [*release.index_blocks, *(block.id for block in index.blocks)]


def installed(fresh: Fresh) -> str:
    """Digest of the version that starts."""
    return RuntimeFolder(fresh.home.data).read().runs


def test_one_file_and_a_link_make_a_running_app_that_is_seeded_on(network: Network) -> None:
    fresh = network.fresh(network.pyz())
    done = fresh("run", "--yes", str(network.app), "a", "--flag")
    assert (done.returncode, done.stdout) == (0, f"{SAID} a --flag\n"), done.stderr
    assert f"pearrt: fetching pearrt {VERSION}" in done.stderr
    for machine in (network.first, network.second):
        assert network.address(machine) in done.stderr, "blocks come from several peers at once"
    again = fresh("run", str(network.app))
    assert (again.returncode, again.stdout, again.stderr) == (0, f"{SAID}\n", "")
    assert json.loads(fresh.ok("versions", "--json"))["ok"]
    launcher = fresh.home.data / "bin" / "pearrt"
    said = subprocess.run(
        [launcher, "--version"], env=fresh.environ, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"pearrt {VERSION}\n"
    # What was fetched is seeded: a bootstrapper that knows only this machine installs from it.
    address = json.loads(fresh.ok("daemon", "status", "--json"))["result"]["address"]
    other = network.fresh(network.pyz("other.pyz", nodes=[]))
    other.ok("--host", f"{address[0]}:{address[1]}", "--no-dht", "install")
    assert installed(other) == network.digest


def test_install_speaks_json(network: Network) -> None:
    fresh = network.fresh(network.pyz())
    result = json.loads(fresh.ok("install", "--json"))["result"]
    assert (result["version"], result["digest"]) == (VERSION, network.digest)
    assert sum(result["fetched"].values()) > 1_000_000
    again = json.loads(fresh.ok("install", "--json"))["result"]
    assert (again["digest"], again["fetched"]) == (network.digest, {})


def test_dead_nodes_but_the_link_names_a_peer(network: Network) -> None:
    fresh = network.fresh(network.pyz("dead.pyz", nodes=DEAD))
    link = f"{network.app}?node={network.address(network.second)}"
    assert fresh.ok("run", "--yes", link) == f"{SAID}\n"


def test_dead_nodes_but_a_mirror_which_any_web_server_is(network: Network, pear: Path) -> None:
    folder = network.folder / "www"
    with zipfile.ZipFile(pear) as archive:
        archive.extractall(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), _silent(folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        fresh = network.fresh(network.pyz("dead.pyz", nodes=DEAD))
        fresh.ok("--mirror", f"http://127.0.0.1:{server.server_port}", "install")
        hinted = network.fresh(network.pyz("dead.pyz", nodes=DEAD))
        process = hinted.start("run", f"{network.app}?mirror=http://127.0.0.1:{server.server_port}")
        wait_for(lambda: installed(hinted) == network.digest, "the runtime through the app's link")
        wait_for(Machine(hinted.home).daemon.running, "pearrt to take over")
        process.kill()
        process.communicate()
        server.shutdown()
    assert installed(fresh) == network.digest


def _silent(folder: Path) -> type[SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.mark.alone  # all that speak mDNS on loopback hear each other
def test_dead_nodes_but_a_peer_in_the_lan(network: Network) -> None:
    near = network.machine(PEARRT_MDNS="loopback")
    network.seed(near, network.runtime, network.first)
    fresh = network.fresh(network.pyz("dead.pyz", nodes=DEAD), PEARRT_MDNS="loopback")
    done = fresh("install")
    assert installed(fresh) == network.digest, done.stderr
    near.stop()


def test_nobody_there_says_what_was_tried(network: Network) -> None:
    done = network.fresh(network.pyz("dead.pyz", nodes=DEAD))("--timeout", "2", "install")
    assert done.returncode == 5
    assert "No peer that has pearrt's releases was found." in done.stderr
    for said in ("127.0.0.1:9 (Connection refused)", "DHT (0 nodes answer)", "--host", "--offline"):
        assert said in done.stderr


def test_offline_from_a_file_in_the_hand(network: Network, pear: Path) -> None:
    """No node, no peer, no lookup: all is in the file, the runtime and the app."""
    fresh = network.fresh(network.pyz("dead.pyz", nodes=DEAD), PEARRT_DHT="0")
    assert fresh.ok("--offline", pear, "install") == ""
    assert installed(fresh) == network.digest
    assert fresh.ok("run", "--yes", pear, "x") == f"{SAID} x\n"
    by_link = network.fresh(network.pyz("dead.pyz", nodes=DEAD), PEARRT_DHT="0")
    assert by_link.ok("--offline", pear, "run", "--yes", str(network.app), "y") == f"{SAID} y\n"


def test_a_file_without_the_runtime_says_so(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "app.pear"
    network.second.ok("export", str(network.app), str(path))
    done = network.fresh(network.pyz())("--offline", path)
    assert done.returncode != 0
    assert "--with-runtime" in done.stderr


def test_one_that_starts_your_app_with_your_nodes_inside(network: Network) -> None:
    path = network.folder / "hello.pyz"
    nodes = [part for node in network.nodes for part in ("--node", str(node))]
    links = ("--runtime", str(network.runtime), "--for", str(network.app))
    made = network.first.ok("bootstrapper", *links, *nodes, "-o", str(path))
    assert made["bytes"] == path.stat().st_size <= 128_000
    fresh = network.fresh(path)
    assert fresh.ok("--pearrt", "install") == ""
    assert fresh.ok("--pearrt", "run", "--yes", str(network.app)) == f"{SAID}\n"
    assert fresh.ok("x", "--help") == f"{SAID} x --help\n", "all arguments are the app's"


def test_neither_environment_nor_sitecustomize_reach_it(network: Network, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    marker = tmp_path / "ran"
    for name in ("usercustomize", "json", "lzma", "pearrt", "bootstrap", "nacl"):
        (evil / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n")
    fresh = network.fresh(network.pyz())
    paths = os.pathsep.join([os.environ["PYTHONPATH"], str(evil)])
    environ = {**fresh.environ, "PYTHONPATH": paths, "PYTHONSTARTUP": str(evil / "usercustomize.py")}
    for flags in ([], ["-I"]):
        line = [sys.executable, *flags, str(fresh.pyz), "--version"]
        done = subprocess.run(line, env=environ, cwd=evil, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("pearrt bootstrapper")
    assert not marker.exists()


def test_two_at_once_install_once(network: Network) -> None:
    fresh = network.fresh(network.pyz())
    racing = [fresh.start("install") for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], said
    assert sum("fetching" in text for text in said) == 1
    assert installed(fresh) == network.digest


def test_ctrl_c_leaves_a_clean_terminal_and_what_was_fetched(network: Network) -> None:
    fresh = network.fresh(network.pyz("dead.pyz", nodes=DEAD))
    process = fresh.start("install")
    assert process.stderr is not None
    assert "looking" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; run it again" in said
    assert "Traceback" not in said


def test_killed_at_any_moment_it_goes_on_from_there(network: Network, tmp_path: Path) -> None:
    """kill -9 at random points: what is left is nothing, or something to go on from, never half a runtime."""
    runtime, rng = StaticRuntime(tmp_path), random.Random(5)
    staged = runtime.release(VERSION, size=100_000)
    pyz = tmp_path / "pearrt-bootstrap.pyz"
    write_pyz(pyz, build(runtime=runtime.link))
    kills = finished = 0
    with runtime.serve() as server:
        line = ("--mirror", server.url, "--no-dht", "install", "--json")
        whole = network.fresh(pyz)
        began = time.monotonic()
        whole.ok(*line)
        took = time.monotonic() - began
        fresh = network.fresh(pyz)
        while kills < KILLS:
            process = fresh.start(*line)
            time.sleep(rng.uniform(0.1, took))
            process.kill()
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            digest = installed(fresh)
            assert digest in ("", staged.digest.hex())
            if digest:
                assert verify_tree(staged.index, RuntimeFolder(fresh.home.data).tree(digest)) == []
                finished += 1
                fresh = network.fresh(pyz)
        assert json.loads(fresh.ok(*line))["result"]["digest"] == staged.digest.hex()
    assert verify_tree(staged.index, RuntimeFolder(fresh.home.data).tree(staged.digest.hex())) == []
    assert finished > 0, "several kills in a row did not keep it from coming to its end"
