"""The bootstrapper's command line: what is its own, and what is passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap.carried import Carried
from bootstrap.options import Options, parse
from bootstrap.program import run
from pearrt.bundle.pear_file import write_pear
from pearrt.errors import BadLink, UserError
from pearrt.link import HostPort, Link

RUNTIME, APP = Link(b"r" * 32), Link(b"a" * 32)
NODE, OTHER = HostPort("192.0.2.1", 1), HostPort("192.0.2.2", 2)


def parsed(*argv: str, carried: Carried | None = None) -> Options:
    return parse(argv, carried or Carried(RUNTIME, (NODE,)), "x.pyz")


def test_a_command_is_passed_on_with_all_that_follows() -> None:
    assert parsed("daemon", "status", "--json").command == ("daemon", "status", "--json")
    assert parsed("--host", str(OTHER), "list", "--host", "x").hosts == (OTHER,)


def test_the_carried_nodes_go_along_with_the_link() -> None:
    options = parsed("run", "--yes", f"{APP}?node={OTHER}", "--host", "of-the-app:1")
    assert options.command[:2] == ("run", "--yes")
    assert Link.parse(options.command[2]).nodes == (OTHER, NODE)
    assert options.command[3:] == ("--host", "of-the-app:1")
    assert options.app is not None
    assert options.app.nodes == (OTHER,)
    assert options.hosts == ()


def test_the_options_of_run_count_here_too() -> None:
    options = parsed(
        "run", "--host", str(OTHER), "--bootstrap=192.0.2.3:3", "--no-dht", "--allow-stale", str(APP)
    )
    assert options.hosts == (OTHER,)
    assert options.nodes == (HostPort("192.0.2.3", 3), NODE)
    assert (options.dht, options.allow_stale) == (False, True)


def test_install_has_no_command_and_takes_options_behind_it() -> None:
    options = parsed("install", "--json", "--mirror", "https://example.org/m/")
    assert (options.command, options.as_json, options.mirrors) == ((), True, ("https://example.org/m",))
    with pytest.raises(UserError, match="takes no 'now'"):
        parsed("install", "now")


def test_a_pear_file_is_a_source_and_alone_the_app() -> None:
    assert parsed("run", "a.pear", "x").command == ("run", "a.pear", "x")
    assert (parsed("run", "a.pear").file, parsed("run", "a.pear").offline) == (Path("a.pear"), False)
    options = parsed("--offline", "a.pear")
    assert (options.command, options.file, options.offline) == (("run", "a.pear"), Path("a.pear"), True)


def test_one_that_carries_an_app_is_that_app() -> None:
    carried = Carried(RUNTIME, (NODE,), APP)
    options = parsed("--help", "run", carried=carried)
    assert Link.parse(options.command[1]) == Link(APP.app_key, nodes=(NODE,))
    assert options.command[2:] == ("--help", "run")
    assert parsed("--pearrt", "list", carried=carried).command == ("list",)
    assert parsed("--pearrt", "--host", str(OTHER), carried=carried).command[0] == "run"


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--host", "x"),
        ("--mirror", "ftp://x", "list"),
        ("--nonsense", "list"),
        ("--timeout", "x", "list"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError):
        parsed(*argv)
    assert run(argv, b'{"app": "", "nodes": [], "runtime": "%s"}' % str(RUNTIME).encode()) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_misspelt_link_is_told_before_anything_is_fetched() -> None:
    with pytest.raises(BadLink):
        parsed("run", "pearrt://yyy")


def test_without_a_runtime_link_nothing_can_be_installed() -> None:
    with pytest.raises(UserError, match="carries no link"):
        parsed("install", carried=Carried())
    assert parsed("--runtime", str(RUNTIME), "install", carried=Carried()).runtime == RUNTIME


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"app": "x", "nodes": [], "runtime": ""}', b"\xff"])
def test_a_damaged_bootstrapper_says_so(data: bytes) -> None:
    with pytest.raises(UserError, match="damaged"):
        Carried.decode(data)


def test_offline_a_link_means_the_file_that_holds_it_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "app.pear"
    write_pear(file, [str(APP)], {APP.app_key: b"metadata"}, [])
    assert parsed("--offline", str(file), "run", "--yes", str(APP), "x").command == (
        "run",
        "--yes",
        str(file),
        "x",
    )
    with pytest.raises(UserError, match="does not run that app"):
        parsed("--offline", str(file), "run", str(RUNTIME))
