"""The daemon's looks at pearrt's own releases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pearrt.app.progress import silent
from pearrt.daemon import self_update
from pearrt.daemon.self_update import SelfUpdate
from pearrt.errors import BadSignature, NoPeers, PearrtError
from pearrt.runtime.updater import Outcome


async def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: PearrtError, *, leaves: bool) -> str:
    async def nobody(*_: object, **__: object) -> None:
        raise error

    async def found(*_: object, **__: object) -> Outcome:
        return Outcome(reason="looked")

    monkeypatch.setattr(self_update, "ask", nobody)
    apps = SimpleNamespace(locks={b"key": asyncio.Lock()})
    daemon: Any = SimpleNamespace(home=SimpleNamespace(data=tmp_path), apps=apps)
    async with asyncio.TaskGroup() as tasks:
        made = SelfUpdate(daemon, tasks)
        app = SimpleNamespace(link=SimpleNamespace(app_key=b"key"))
        updater: Any = SimpleNamespace(app=app, leaves=lambda _: leaves, look=found)
        made.updater = updater
        return (await made._look(silent)).reason


@pytest.mark.parametrize("error", [NoPeers("Nobody."), BadSignature("Not theirs.")])
async def test_no_peer_that_is_silent_or_lies_keeps_a_revoked_version_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: PearrtError
) -> None:
    assert await look(tmp_path, monkeypatch, error, leaves=True) == "looked"
    with pytest.raises(ExceptionGroup) as raised:
        await look(tmp_path, monkeypatch, error, leaves=False)
    assert raised.group_contains(type(error))
