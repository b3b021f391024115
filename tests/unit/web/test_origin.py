"""Who may speak to an app's page: exactly the page itself, and the person who opened it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.web.origin import TOKEN_TTL_S, Door, Origin, spelled

ORIGIN = Origin(spelled(bytes(16)), 4242)
HOST = ("Host", ORIGIN.host)


def admits(method: str, *headers: tuple[str, str]) -> bool:
    return ORIGIN.admits(method, headers)


def test_the_name_is_26_letters_below_localhost() -> None:
    assert str(ORIGIN) == f"http://{'a' * 26}.localhost:4242"
    assert spelled(b"\xff" * 16) != spelled(b"\xfe" * 16)


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost:4242", "127.0.0.1:4242", "127.evil.example", "evil.example:4242",
        f"{ORIGIN.name}.localhost", f"{ORIGIN.name}.localhost:4243", f"x.{ORIGIN.host}", f"{ORIGIN.host}.",
        f"{ORIGIN.host}@evil.example", f"evil.example, {ORIGIN.host}", ORIGIN.host.upper(), f"{ORIGIN.host}/",
        f" {ORIGIN.host}", f"b{ORIGIN.host[1:]}",
    ],
)  # fmt: skip
def test_dns_rebinding_and_any_other_host_is_refused(host: str) -> None:
    assert not admits("GET", ("Host", host))


def test_no_host_or_two_hosts_are_refused() -> None:
    assert not admits("GET")
    assert not admits("GET", HOST, HOST)
    assert not admits("GET", HOST, ("host", "evil.example"))
    assert admits("GET", ("hOsT", ORIGIN.host))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin, cross-site", "None", "x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_a_request_from_another_site_is_refused(site: str, method: str) -> None:
    """`same-site` too: other apps' pages are below `localhost` as well."""
    assert not admits(method, HOST, ("Sec-Fetch-Site", site), ("Origin", str(ORIGIN)))
    assert not admits(method, HOST, ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", site))


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", f"https://{ORIGIN.host}", f"http://b{ORIGIN.host[1:]}", f"{ORIGIN}/"],
)
def test_a_request_of_another_origin_is_refused(origin: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert not admits(method, HOST, ("Origin", origin))
        assert not admits(method, HOST, ("Origin", str(ORIGIN)), ("Origin", origin))


def test_what_changes_something_names_its_origin_and_is_never_typed() -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        assert not admits(method, HOST)
        assert not admits(method, HOST, ("Sec-Fetch-Site", "same-origin"))
        assert not admits(method, HOST, ("Origin", str(ORIGIN)), ("Sec-Fetch-Site", "none"))
        assert admits(method, HOST, ("Origin", str(ORIGIN)), ("Sec-Fetch-Site", "same-origin"))


def test_the_page_and_the_person_get_in() -> None:
    for site in ("none", "same-origin"):
        assert admits("GET", HOST, ("Sec-Fetch-Site", site))
    assert admits("GET", HOST)  # a browser without fetch metadata, a script
    assert admits("GET", HOST, ("Origin", str(ORIGIN)))


def test_a_service_worker_is_not_given_its_script() -> None:
    assert not admits("GET", HOST, ("Service-Worker", "script"), ("Sec-Fetch-Site", "same-origin"))


def door() -> Door:
    return Door(b"t" * 16, b"s" * 16, 100.0)


def test_the_token_opens_once() -> None:
    one = door()
    path = one.path
    assert one.open(path, 101.0)
    assert not one.open(path, 101.0)
    assert not one.open(one.path, 101.0)


def test_the_token_opens_for_a_while_only() -> None:
    one = door()
    assert not one.open(one.path, 100.0 + TOKEN_TTL_S + 1)
    assert one.open(one.path, 100.0 + TOKEN_TTL_S)


@given(st.text(max_size=40))
def test_no_other_token_opens(text: str) -> None:
    one = door()
    assert not one.open(f"/.pearrt/enter/{text}", 101.0) or one.path.endswith(text)
    assert door().open(door().path, 101.0)


@pytest.mark.parametrize(
    "cookie",
    ["", "pearrt=", "pearrt", "other=1", f"pearrt={spelled(b't' * 16)}", f"xpearrt={spelled(b's' * 16)}",
     f"pearrt={spelled(b's' * 16)}; pearrt=x", f"pearrt={spelled(b's' * 16)}x", "pearrt=ü"],
)  # fmt: skip
def test_a_cookie_that_is_not_the_sessions_is_refused(cookie: str) -> None:
    assert not door().knows([("Cookie", cookie)])


def test_the_sessions_cookie_is_known_among_others_and_kept_from_scripts() -> None:
    one = door()
    assert one.knows([("Cookie", f"a=b; pearrt={one.secret}; c=d")])
    assert not one.knows([("Cookie", f"pearrt={one.secret}"), ("Cookie", "pearrt=x")])
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(one.cookie.split("; "))
    assert "Domain" not in one.cookie
