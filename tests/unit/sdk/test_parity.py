"""The two faces of the SDK: what one can do the other can, and both say what."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from pearrt import sdk
from pearrt.sdk import aio

CALLBACKS = {"log.handler", "updates.on_ready"}  # for who has no loop


def calls() -> Iterator[tuple[str, Any]]:
    for name in sdk.__all__:
        part = getattr(sdk, name)
        if isinstance(part, ModuleType) and part is not aio:
            for inner, value in vars(part).items():
                if inspect.isfunction(value) and value.__module__ == part.__name__ and inner[0] != "_":
                    yield f"{name}.{inner}", value
        elif inspect.isfunction(part):
            yield name, part


INTERNAL = {
    *("files.taken", "p2p.heard", "p2p.message", "p2p.sent", "page.bound", "page.connected"),
    *("shelf.blocks", "shelf.listed", "shelf.opened", "shelf.part", "shelf.wanted"),
    *("desktop.notify", "desktop.open_url"),  # sdk.notify, sdk.open_url
}
PUBLIC = {name: call for name, call in calls() if name not in INTERNAL}


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - CALLBACKS))
def test_every_call_has_a_twin_with_the_same_parameters(name: str) -> None:
    twin: Any = aio
    for part in name.split("."):
        twin = getattr(twin, part)
    mine, theirs = inspect.signature(PUBLIC[name]).parameters, inspect.signature(twin).parameters
    # `asyncio.timeout` gives up a task that waits; a parameter need not.
    assert {*mine} - {"timeout_s"} == {*theirs} - {"timeout_s"}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_call_is_typed(name: str) -> None:
    signature = inspect.signature(PUBLIC[name])
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())


def test_what_is_public_is_listed_for_completion() -> None:
    assert set(sdk.__all__) <= set(dir(sdk))


def test_a_traceback_shows_the_hint() -> None:
    error = sdk.NotConnected("Nobody is there.", hint="Start the app with `pearrt run`.")
    assert "Start the app" in "".join(traceback.format_exception(error))
