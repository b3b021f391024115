"""What holds for every test: it stays on this machine, it does not see the developer's settings, and in CI
it is not skipped. The fixtures here are the few that every room needs; `tests/support/` has the rest."""

from __future__ import annotations

import faulthandler
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # pytest's copy of stderr, which is not captured

from pearrt.paths import Home
from tests.support import guard
from tests.support.leftovers import end_leftovers
from tests.support.ports import unused_port
from tests.support.require import IN_CI, NOT_APPLICABLE

# The shortest place there is: a Unix socket's path must fit into 104 bytes.
SHORT_ROOT = "/tmp" if os.path.isdir("/tmp") else None

TEST_TIMEOUT_S = 420.0  # far above the slowest test: only what hangs is ended

MARKED_FOLDERS = ("e2e", "interop", "lab")

_session_folder = pytest.StashKey[Path]()

hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


def pytest_configure(config: pytest.Config) -> None:
    """Guards this process and those it starts. Settings of the person who runs the tests are taken away."""
    for name in [
        name for name in os.environ if name.startswith("PEARRT_") and not name.startswith("PEARRT_TEST_")
    ]:
        del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="prt", dir=SHORT_ROOT))
    config.stash[_session_folder] = folder
    os.environ["PEARRT_HOME"] = str(folder / "home")  # for what forgets to choose one: never the person's own
    os.environ.update(guard.environ_for_children(os.environ, str(folder / "guard.log")))
    guard.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lies in a folder of one of these names needs what the marker says, without saying so again."""
    here = Path(__file__).parent
    for item in items:
        if (
            item.path.is_relative_to(here)
            and (folder := item.path.relative_to(here).parts[0]) in MARKED_FOLDERS
        ):
            item.add_marker(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_session_folder], ignore_errors=True)


def _take_violations(config: pytest.Config) -> list[str]:
    log = config.stash[_session_folder] / "guard.log"
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines()
    log.unlink()
    return lines


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that hangs ends its process, with the stacks of its threads on stderr, and not the run."""
    stderr = item.config.stash.get(fault_handler_stderr_fd_key, 2)
    faulthandler.dump_traceback_later(TEST_TIMEOUT_S, exit=True, file=stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Once a test's fixtures are gone, whatever it or its processes tried to send outside fails it; after the
    last test no process that the tests started may be left."""
    yield
    if violations := _take_violations(item.config):
        pytest.fail("Traffic would have left this machine:\n" + "\n".join(violations), pytrace=False)
    if nextitem is None and (left := end_leftovers(os.environ[guard.LOG])):
        pytest.fail("Tests left processes behind (killed now):\n" + "\n".join(left), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """In CI a skipped test is a failed one, unless it says that it is not applicable."""
    for line in _unexcused_skips(terminalreporter):
        terminalreporter.write_line(f"SKIPPED IN CI, hence failed: {line}", red=True)
    for line in _take_violations(config):
        terminalreporter.write_line(f"TRAFFIC after the last test: {line}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    late = (session.config.stash[_session_folder] / "guard.log").exists()
    if late or (reporter is not None and _unexcused_skips(reporter)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unexcused_skips(reporter: pytest.TerminalReporter) -> list[str]:
    if not IN_CI:
        return []
    lines = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(NOT_APPLICABLE):
            lines.append(f"{report.nodeid}: {reason}")
    return lines


@pytest.fixture
def new_home() -> Iterator[Callable[[], Home]]:
    """Makes homes, each a private folder with a path short enough for Unix sockets; all are removed at the
    end."""
    with tempfile.TemporaryDirectory(prefix="prt", dir=SHORT_ROOT, ignore_cleanup_errors=True) as root:
        made = 0

        def make() -> Home:
            nonlocal made
            made += 1
            home = Home.at(Path(root) / str(made))
            home.prepare()
            return home

        yield make


@pytest.fixture
def home(new_home: Callable[[], Home]) -> Home:
    """One prepared home."""
    return new_home()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives port numbers that are free on loopback for TCP and UDP; never one twice in a session."""
    return unused_port
