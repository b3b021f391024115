"""Installing the runtime: what is taken, what is refused, and that any interruption can be gone on from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Semaphore

import pytest

from bootstrap import installation
from bootstrap.discovery import Places
from bootstrap.install import install, installed
from bootstrap.installation import Task
from bootstrap.screen import Screen
from pearrt.bundle.pear_file import write_pear
from pearrt.bundle.verify import verify_tree
from pearrt.errors import (
    Equivocation,
    Expired,
    Full,
    Locked,
    NoPeers,
    PearrtError,
    ProtocolViolation,
    Rollback,
    ThresholdNotMet,
    UserError,
)
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.platform_tag import platform_tag
from pearrt.runtime.layout import RuntimeFolder
from pearrt.store.layout import Layout
from pearrt.store.service import Store
from tests.support.repository import Repository
from tests.support.static_runtime import Server, StaticRuntime

QUIET = Screen(quiet=True)


@pytest.fixture
def runtime(tmp_path: Path) -> StaticRuntime:
    runtime = StaticRuntime(tmp_path / "releases")
    runtime.release("1.0")
    return runtime


def task(runtime: StaticRuntime, *servers: Server, **options: object) -> Task:
    places = Places(mirrors=tuple(server.url for server in servers))
    return Task(runtime.link, places, **({"timeout_s": 5.0} | options))  # type: ignore[arg-type]


def check(runtime: StaticRuntime, home: Home, version: str) -> None:
    """This version is installed, whole."""
    staged = runtime.staged[version]
    state = RuntimeFolder(home.data).read()
    assert (state.runs, state.name(state.runs)) == (staged.digest.hex(), version)
    assert verify_tree(staged.index, RuntimeFolder(home.data).tree(state.runs)) == []
    assert installed(home) == state


def install_and_lose_the_record(runtime: StaticRuntime, home: Home) -> None:
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
    shutil.rmtree(RuntimeFolder(home.data).root)


def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.agreement.REFUSED_AFTER_S", 0.05)
    monkeypatch.setattr("bootstrap.installation.SHORT_S", 0.3)
    monkeypatch.setattr("bootstrap.pool.LOST_AFTER_S", 0.5)


def test_from_two_mirrors_at_once(runtime: StaticRuntime, home: Home) -> None:
    with runtime.serve() as one, runtime.serve() as two:
        report = install(task(runtime, one, two), home, QUIET)
        assert report is not None
        assert report.version == "1.0"
        assert set(report.fetched) == {one.url, two.url}
        assert sorted(one.asked + two.asked) == sorted(runtime.blocks), "each block once"
        assert install(task(runtime, one, two), home, QUIET) is None, "there is nothing left to do"
    check(runtime, home, "1.0")
    with Store(home.store) as store:
        assert store.gc(dry_run=True).removed == 0, "what was fetched is kept, to be seeded"
        assert all(store.has(block_id) for block_id in runtime.blocks)


@pytest.mark.parametrize("codec", ["xz", "raw"])
def test_every_codec_of_the_standard_library(tmp_path: Path, home: Home, codec: str) -> None:
    runtime = StaticRuntime(tmp_path)
    runtime.release("1.0", codec=codec)
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
    check(runtime, home, "1.0")


def test_the_launcher_starts_what_was_installed(runtime: StaticRuntime, home: Home) -> None:
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
    line = [home.data / "bin" / "pearrt", "a"]
    environ = {**os.environ, "PEARRT_HOME": str(home.data)}
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pearrt 1.0 ")


def test_two_of_three_signatures_are_refused(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    runtime = StaticRuntime(tmp_path, Repository(threshold=3))
    runtime.release("1.0")
    runtime.repository.names["targets"] = ["ada", "bob"]
    with runtime.serve() as server, pytest.raises(ThresholdNotMet):
        install(task(runtime, server), home, QUIET)
    assert installed(home) is None
    assert list(home.apps.glob("*/*")) == []
    assert server.asked == [], "nothing is fetched for what nobody vouches for"


def test_another_apps_metadata_is_refused(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    other = StaticRuntime(runtime.folder / "other", Repository(app_id="f" * 32))
    other.release("6.6")
    with (
        runtime.serve(metadata=other.repository.metadata().encode()) as server,
        pytest.raises(PearrtError) as caught,
    ):
        install(task(runtime, server), home, QUIET)
    assert caught.value.exit_code == 4


def test_one_good_offer_outweighs_bad_ones(runtime: StaticRuntime, home: Home) -> None:
    good = runtime.repository.metadata().encode()
    with (
        runtime.serve(metadata=b"garbage") as garbage,
        runtime.serve(metadata=good[:-9]) as cut,
        runtime.serve() as fair,
    ):
        install(task(runtime, garbage, cut, fair), home, QUIET)
    check(runtime, home, "1.0")


def test_the_newest_of_several_offers_is_taken(runtime: StaticRuntime, home: Home) -> None:
    old = runtime.repository.metadata().encode()
    runtime.release("2.0")
    with runtime.serve(metadata=old) as behind, runtime.serve() as current:
        install(task(runtime, behind, current), home, QUIET)
    check(runtime, home, "2.0")


def test_a_flipped_block_makes_the_other_peer_the_source(runtime: StaticRuntime, home: Home) -> None:
    def flip(data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:]

    with runtime.serve(flip) as bad, runtime.serve() as good:
        report = install(task(runtime, bad, good), home, QUIET)
    assert report is not None
    assert set(report.fetched) == {good.url}
    assert len(bad.asked) <= 6, "dropped: asked only until the first of its three answers was judged"
    check(runtime, home, "1.0")


def test_nobody_has_the_rest(runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fast(monkeypatch)
    absent = max(runtime.blocks, key=lambda block_id: len(runtime.blocks[block_id]))
    with (
        runtime.serve(lambda data: None if data == runtime.blocks[absent] else data) as server,
        pytest.raises(NoPeers, match="rest"),
    ):
        install(task(runtime, server), home, QUIET)
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
        assert server.asked == [absent], "what was fetched is not fetched again"
    check(runtime, home, "1.0")


def test_all_is_here_but_nobody_answers(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    install_and_lose_the_record(runtime, home)
    shutil.rmtree(home.apps / runtime.link.key_text / "releases")
    install(Task(runtime.link, Places(), timeout_s=0.3), home, QUIET)
    check(runtime, home, "1.0")


def test_what_was_trusted_is_the_floor(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    old = runtime.repository.metadata().encode()
    runtime.release("2.0")
    install_and_lose_the_record(runtime, home)
    with runtime.serve(metadata=old) as behind, pytest.raises(Rollback):
        install(task(runtime, behind), home, QUIET)


def test_two_statements_of_one_version_are_kept_as_proof(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    install_and_lose_the_record(runtime, home)
    runtime.repository["timestamp"]["expires"] = "2030-03-20T00:00:00Z"
    with runtime.serve() as server, pytest.raises(Equivocation):
        install(task(runtime, server), home, QUIET)
    assert (home.apps / runtime.link.key_text / "equivocation.benc").exists()


def test_stale_metadata_takes_the_persons_yes(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast(monkeypatch)
    runtime.repository["timestamp"]["expires"] = "2020-01-01T00:00:00Z"
    with runtime.serve() as server:
        with pytest.raises(Expired):
            install(task(runtime, server), home, QUIET)
        install(task(runtime, server, allow_stale=True), home, QUIET)
    check(runtime, home, "1.0")


def test_no_release_for_this_machine_says_which_there_are(tmp_path: Path, home: Home) -> None:
    runtime = StaticRuntime(tmp_path)
    runtime.release("1.0", platform="beos-ppc-cp311")
    runtime.release("1.0", platform=f"{platform_tag()}-cp399")
    with runtime.serve() as server, pytest.raises(UserError, match="beos-ppc-cp311") as caught:
        install(task(runtime, server), home, QUIET)
    assert "Python 3.99" in caught.value.hint


def test_a_release_that_needs_more_than_the_standard_library_says_so(tmp_path: Path, home: Home) -> None:
    runtime = StaticRuntime(tmp_path)
    runtime.release("1.0", codec="zstd")
    with runtime.serve() as server, pytest.raises(ProtocolViolation, match="zstd"):
        install(task(runtime, server), home, QUIET)


def test_a_disk_too_small_is_told_before_anything_is_fetched(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(home.data)
    with monkeypatch.context() as patch, runtime.serve() as server:
        patch.setattr(installation.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        with pytest.raises(Full, match=r"1\.0 MB are free"):
            install(task(runtime, server), home, QUIET)
    assert len(server.asked) == 1, "the index"
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
    check(runtime, home, "1.0")


def test_a_disk_that_fills_up_meanwhile_loses_nothing(
    runtime: StaticRuntime, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, stored = Semaphore(5), set[bytes]()
    put = Store.put

    def full_at_last(store: Store, block_id: bytes, data: bytes) -> None:
        if not room.acquire(blocking=False):
            raise Full("Store: No space left on device.")
        put(store, block_id, data)  # may come too late, when another connection has met the full disk
        stored.add(block_id)

    with monkeypatch.context() as patch, runtime.serve() as server:
        patch.setattr(Store, "put", full_at_last)
        with pytest.raises(Full):
            install(task(runtime, server), home, QUIET)
    assert installed(home) is None
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
        assert len(stored) >= 1
        assert set(server.asked) == runtime.blocks.keys() - stored
    check(runtime, home, "1.0")


def damaged_state(home: Home, runtime: StaticRuntime) -> None:
    RuntimeFolder(home.data).state_file.write_text("{")


def lost_file(home: Home, runtime: StaticRuntime) -> None:
    (RuntimeFolder(home.data).tree(runtime.staged["1.0"].digest.hex()) / "pearrt/runtime/start.py").unlink()


def another_python(home: Home, runtime: StaticRuntime) -> None:
    (RuntimeFolder(home.data).root / "python").write_text("cpython-399\n")


def damaged_block(home: Home, runtime: StaticRuntime) -> None:
    lost_file(home, runtime)
    path = Layout(home.store).block(runtime.staged["1.0"].index.blocks[3].id)
    path.write_bytes(b"x" + path.read_bytes()[1:])


@pytest.mark.parametrize("harm", [damaged_state, lost_file, another_python, damaged_block])
def test_what_was_damaged_is_mended_by_running_it_again(
    runtime: StaticRuntime, home: Home, harm: Callable[[Home, StaticRuntime], None]
) -> None:
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
        harm(home, runtime)
        assert installed(home) is None
        server.asked.clear()
        install(task(runtime, server), home, QUIET)
        assert len(server.asked) == (harm is damaged_block)
    check(runtime, home, "1.0")


def test_a_daemon_that_holds_the_store_is_named(runtime: StaticRuntime, home: Home) -> None:
    with Store(home.store), runtime.serve() as server, pytest.raises(Locked, match="in use by"):
        install(task(runtime, server), home, QUIET)


def test_all_out_of_a_file(runtime: StaticRuntime, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "runtime.pear"
    metadata = {runtime.link.app_key: runtime.repository.metadata().encode()}
    write_pear(path, [str(runtime.link)], metadata, sorted(runtime.blocks.items()))
    report = install(Task(runtime.link, Places(), path), home, QUIET)
    assert report is not None
    assert set(report.fetched) == {str(path)}
    check(runtime, home, "1.0")


def test_a_file_without_the_runtime_says_how_to_make_one_with_it(
    runtime: StaticRuntime, home: Home, tmp_path: Path
) -> None:
    other = Repository(app_id="f" * 32)
    path = tmp_path / "app.pear"
    write_pear(path, [str(Link(other.app_key))], {other.app_key: b"x"}, [])
    with pytest.raises(NoPeers) as caught:
        install(Task(runtime.link, Places(), path), home, QUIET)
    assert "--with-runtime" in caught.value.hint


def test_the_python_is_remembered(runtime: StaticRuntime, home: Home) -> None:
    with runtime.serve() as server:
        install(task(runtime, server), home, QUIET)
    assert (home.data / "runtime" / "python").read_text().strip() == sys.implementation.cache_tag
