"""Homes: everything under one folder, private, with a socket path that fits."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from pearrt.errors import UserError
from pearrt.paths import MAX_SOCKET_PATH_BYTES, Home


def test_pearrt_home_puts_everything_under_one_folder(tmp_path: Path) -> None:
    home = Home.from_environment({"PEARRT_HOME": str(tmp_path)})
    assert home == Home.at(tmp_path)
    places = [getattr(home, name) for name, value in vars(Home).items() if isinstance(value, property)]
    assert len(places) >= 8
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert len(set(places)) == len(places)


def test_without_it_the_platforms_places_are_used() -> None:
    home = Home.from_environment({})
    assert home.data.is_absolute()
    assert home.data.name == home.config.name == "pearrt"
    assert home.data != home.config


@pytest.mark.parametrize(
    "xdg",
    [{}, {"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c/c"}, {"XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "r"}],
)
@pytest.mark.parametrize(("name", "kind"), [("linux", "unix.Unix"), ("darwin", "macos.MacOS")])
def test_the_places_are_those_of_platformdirs(
    monkeypatch: pytest.MonkeyPatch, xdg: dict[str, str], name: str, kind: str
) -> None:
    module, _, cls = kind.partition(".")
    platform = getattr(importlib.import_module(f"platformdirs.{module}"), cls)
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in xdg.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.platform", name)
    dirs = platform("pearrt", appauthor=False)
    home = Home.from_environment(dict(xdg))
    assert (str(home.data), str(home.config)) == (dirs.user_data_dir, dirs.user_config_dir)


def test_where_platformdirs_is_installed_it_names_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEARRT_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    with_it = Home.from_environment()
    assert with_it.data == Path("/d/pearrt")
    assert "platformdirs" in sys.modules
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert Home.from_environment() == with_it


def test_on_windows_the_local_application_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    home = Home.from_environment({"LOCALAPPDATA": "/c/local", "XDG_DATA_HOME": "/d"})
    assert home.data == home.config == Path("/c/local/pearrt")


def test_the_socket_is_in_one_place_whatever_session_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    inside = Home.from_environment({}).socket
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Home.from_environment({}).socket == inside


def test_a_relative_or_tilde_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    assert Home.at(Path("here")).data == tmp_path / "here"
    assert Home.at(Path("~/p")).data == Path("/home/alice/p")


def test_prepare_makes_private_folders_and_may_be_repeated(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "deep" / "home")
    home.prepare()
    home.prepare()
    assert {folder.stat().st_mode & 0o777 for folder in (home.data, home.config, home.runtime)} == {0o700}


def test_a_runtime_folder_that_others_may_read_is_closed(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    (tmp_path / "run").mkdir(mode=0o755)
    (tmp_path / "run").chmod(0o755)
    home.prepare()
    assert home.runtime.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    home.data.chmod(0o770)
    with pytest.raises(UserError, match="others may write") as caught:
        home.prepare()
    assert "chmod go-w" in caught.value.hint


def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not applicable: only root can give a folder away")
    home = Home.at(tmp_path / "home")
    home.prepare()
    os.chown(home.runtime, 65534, 65534)
    with pytest.raises(UserError, match="belongs to someone else"):
        home.prepare()


def test_a_file_in_the_way_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UserError, match="Cannot use"):
        Home.at(tmp_path / "home").prepare()


def test_a_socket_path_that_does_not_fit_is_a_user_error() -> None:
    longest = Path("/" + "x" * (MAX_SOCKET_PATH_BYTES - len("/run/api.sock") - 1))
    assert len(os.fsencode(Home.at(longest).socket)) == MAX_SOCKET_PATH_BYTES
    with pytest.raises(UserError, match="too long for a Unix socket"):
        _ = Home.at(Path(str(longest) + "x")).socket
