"""The other end of a channel, as an app or its attendant has it, without the SDK: frames by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Self

from pearrt.errors import from_dict


class End:
    """An async context manager. Raises ConnectionError where the token is refused."""

    def __init__(self, path: Path, token: bytes) -> None:
        self.path, self.token = path, token

    @classmethod
    def open(cls, path: Path, token: bytes) -> End:
        return cls(path, token)

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.path))
        self.writer.write(self.token)
        try:
            if await self.reader.read(1) != b"\x01":
                raise ConnectionResetError("refused")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()  # what the daemon does not read is not waited for
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        self.writer.write(len(data).to_bytes(4) + data)

    async def read(self) -> dict[str, Any]:
        length = int.from_bytes(await self.reader.readexactly(4))
        message: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        return message

    async def call(self, method: str, **fields: Any) -> Any:
        """The result of a call that nothing else is under way beside. Raises the error it was answered."""
        self.send({"id": 7, "method": method, **fields})
        answer = await self.read()
        assert answer["id"] == 7, answer
        if "error" in answer:
            raise from_dict(answer["error"])
        return answer["result"]
