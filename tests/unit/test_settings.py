"""Settings: precedence, and that nothing misspelt passes unnoticed."""

import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pearrt
from pearrt.errors import UserError
from pearrt.link import HostPort
from pearrt.paths import Home
from pearrt.settings import MAX_LIST, Settings, reference, variable


def load(folder: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: object) -> Settings:
    if toml:
        (folder / "config.toml").write_text(toml)
    return Settings.load(Home.at(folder), environ or {}, flags)


def test_defaults_stand_where_nothing_is_said(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings()
    assert Settings().bootstrap is None
    assert Settings().idle_exit_s == 3600


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    toml = "idle_exit_s = 10\nmax_peers = 11\nmdns = 'off'\n"
    environ = {"PEARRT_IDLE_EXIT_S": "20", "PEARRT_MAX_PEERS": "21"}
    settings = load(tmp_path, toml, environ, idle_exit_s=30, dht=None)
    assert (settings.idle_exit_s, settings.max_peers, settings.mdns, settings.dht) == (30, 21, "off", True)


def test_each_source_writes_a_list_its_own_way(tmp_path: Path) -> None:
    expected = (HostPort("127.0.0.1", 6881), HostPort("2001:db8::7", 1))
    text = "127.0.0.1:6881, [2001:db8::7]:1"
    assert load(tmp_path, environ={"PEARRT_BOOTSTRAP": text}).bootstrap == expected
    assert load(tmp_path, bootstrap=text).bootstrap == expected
    assert load(tmp_path, bootstrap=expected).bootstrap == expected
    assert load(tmp_path, "bootstrap = ['127.0.0.1:6881', '[2001:db8::7]:1']").bootstrap == expected


def test_none_empties_a_list_and_lifts_a_limit(tmp_path: Path) -> None:
    toml = "hosts = ['a:1']\nidle_exit_s = 5\n"
    environ = {"PEARRT_HOSTS": "none", "PEARRT_IDLE_EXIT_S": "none"}
    settings = load(tmp_path, toml, {**environ, "PEARRT_BOOTSTRAP": "none"})
    assert settings.hosts == ()
    assert settings.bootstrap == ()
    assert settings.idle_exit_s is None


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert load(tmp_path, "max_peers = 7", {"PEARRT_MAX_PEERS": "", "PEARRT_PSK_FILE": ""}).max_peers == 7


def test_listen_takes_port_0_for_a_random_one(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"PEARRT_LISTEN": "127.0.0.1:0"}).listen == HostPort("127.0.0.1", 0)
    assert load(tmp_path, environ={"PEARRT_LISTEN": "[::1]:6881"}).listen == HostPort("::1", 6881)
    with pytest.raises(UserError, match="PEARRT_HOSTS is"):
        load(tmp_path, environ={"PEARRT_HOSTS": "127.0.0.1:0"})


@pytest.mark.parametrize(
    ("toml", "environ", "flags", "message", "hint"),
    [
        ("idle_exit = 5", {}, {}, "no setting in .*config.toml called idle_exit", "idle_exit_s"),
        ("[dth]\nx = 1", {}, {}, "called dth", "dht"),
        ("", {"PEARRT_BOOTSTARP": "a:1"}, {}, "no variable PEARRT_BOOTSTARP", "PEARRT_BOOTSTRAP"),
        ("", {"PEARRT_HOMEE": "/x"}, {}, "no variable PEARRT_HOMEE", "PEARRT_HOME"),
        ("", {"PEARRT_ZZZZZZZZ": "1"}, {}, "no variable", "Known are"),
        ("", {}, {"max_pears": 4}, "no setting max_pears", "max_peers"),
    ],
)
def test_an_unknown_name_is_an_error_that_suggests_the_one_meant(
    tmp_path: Path, toml: str, environ: dict[str, str], flags: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, toml, environ, **flags)
    assert hint in caught.value.hint


def test_variables_that_are_read_elsewhere_are_left_alone(tmp_path: Path) -> None:
    environ = {"PEARRT_HOME": "/x", "PEARRT_TEST_NETNS": "1", "PEARRT_APP_DATA": "/y", "PATH": "/bin"}
    assert load(tmp_path, environ=environ) == Settings()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PEARRT_DHT": "maybe"}, "PEARRT_DHT is 'maybe': expected 1 or 0"),
        ({"PEARRT_MDNS": "lan"}, "expected one of off, loopback, all"),
        ({"PEARRT_MAX_PEERS": "0"}, "from 1 to 10000"),
        ({"PEARRT_MAX_PEERS": "1e3"}, "from 1 to 10000"),
        ({"PEARRT_MAX_PEERS": "9" * 5000}, "from 1 to 10000"),
        ({"PEARRT_MAX_PEERS": "٣"}, "from 1 to 10000"),
        ({"PEARRT_IDLE_EXIT_S": "-1"}, "or none"),
        ({"PEARRT_BOOTSTRAP": "router:99999"}, "not host:port"),
        ({"PEARRT_BOOTSTRAP": "router"}, "not host:port"),
        ({"PEARRT_HOSTS": ",".join(f"h:{n}" for n in range(1, MAX_LIST + 2))}, "at most 64"),
        ({"PEARRT_PSK_FILE": "a\0b"}, "path of a file"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(
    tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(tmp_path, environ=environ)


@pytest.mark.parametrize(
    "toml", ["dht = 1", "max_peers = true", "max_peers = 1.5", "listen = 6881", "hosts = 'x'"]
)
def test_the_file_does_not_coerce_types(tmp_path: Path, toml: str) -> None:
    with pytest.raises(UserError, match=r"config\.toml is"):
        load(tmp_path, toml)


@pytest.mark.parametrize("raw", [b"dht = ", b"\xff\xfe", b"dht = true\ndht = false", b"#" * 70_000])
def test_a_broken_file_is_the_persons_to_mend_not_a_traceback(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(raw)
    with pytest.raises(UserError, match=r"config\.toml"):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(UserError, match="Cannot read"):
        load(tmp_path)


def test_a_relative_psk_file_starts_at_the_file_that_names_it(tmp_path: Path) -> None:
    assert load(tmp_path, "psk_file = 'office.psk'").psk_file == tmp_path / "office.psk"
    assert load(tmp_path, environ={"PEARRT_PSK_FILE": "office.psk"}).psk_file == Path.cwd() / "office.psk"


def test_the_psk_is_read_only_from_a_private_file_of_the_right_form(tmp_path: Path) -> None:
    file = tmp_path / "psk"
    file.write_text("ab" * 32 + "\n")
    settings = load(tmp_path, psk_file=file)
    file.chmod(0o644)
    with pytest.raises(UserError, match="Others may read") as caught:
        settings.read_psk()
    assert "chmod 600" in caught.value.hint
    file.chmod(0o600)
    assert settings.read_psk() == b"\xab" * 32
    for wrong in ("ab" * 31, "zz" * 32, "", "ab" * 33, "é" * 32):
        file.write_text(wrong)
        with pytest.raises(UserError, match="holds no pre-shared key") as caught:
            settings.read_psk()
        assert wrong == "" or wrong not in str(caught.value)
    file.unlink()
    with pytest.raises(UserError, match="Cannot read"):
        settings.read_psk()
    assert Settings().read_psk() == b""


host_ports = st.builds(
    HostPort, st.sampled_from(["127.0.0.1", "::1", "2001:db8::7", "node.example"]), st.integers(1, 65535)
)
any_settings = st.builds(
    Settings,
    bootstrap=st.none() | st.lists(host_ports, unique=True, max_size=4).map(tuple),
    dht=st.booleans(),
    mdns=st.sampled_from(["off", "loopback", "all"]),
    hosts=st.lists(host_ports, unique=True, max_size=4).map(tuple),
    listen=st.none() | host_ports | st.just(HostPort("::", 0)),
    psk_file=st.none() | st.just(Path("/etc/pearrt/psk")),
    idle_exit_s=st.none() | st.integers(0, 10**9),
    max_peers=st.integers(1, 10_000),
    mirror_view=st.booleans(),
)


def as_variables(settings: Settings) -> dict[str, str]:
    """The environment that a person would write for these settings; defaults are left out."""
    texts = {}
    for item in fields(settings):
        match getattr(settings, item.name):
            case value if value == item.default:
                continue
            case bool() as value:
                texts[variable(item.name)] = "1" if value else "0"
            case tuple() as value:
                texts[variable(item.name)] = ",".join(map(str, value)) or "none"
            case value:
                texts[variable(item.name)] = "none" if value is None else str(value)
    return texts


@given(any_settings)
def test_every_setting_can_be_given_by_its_variable(settings: Settings) -> None:
    assert Settings.load(Home.at(Path("/nonexistent")), as_variables(settings)) == settings


def test_the_reference_names_every_setting_and_its_variable() -> None:
    lines = {line.name: line for line in reference()}
    assert lines["idle_exit_s"].variable == variable("idle_exit_s") == "PEARRT_IDLE_EXIT_S"
    assert lines["idle_exit_s"].default == "3600"
    assert lines["bootstrap"].default == "unset"
    assert lines["hosts"].default == "none"
    assert all(line.help.endswith(".") for line in lines.values())


def test_the_process_environment_is_the_default_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PEARRT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PEARRT_MAX_PEERS", "3")
    assert Settings.load(Home.at(tmp_path)).max_peers == 3


def test_every_setting_does_something() -> None:
    """A setting that nothing reads would be a promise that is not kept."""
    package = Path(pearrt.__file__).parent
    code = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "settings.py")
    readers = {"psk_file": "read_psk"}
    assert [
        line.name for line in reference() if f"ettings.{readers.get(line.name, line.name)}" not in code
    ] == []
