"""A browser as far as a page's server can tell: one address, a cookie, the headers that browsers send."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Browser:
    """Opens `url` (the one-time address of a page) with `enter`; everything else goes to the same origin."""

    def __init__(self, url: str) -> None:
        match = re.fullmatch(r"http://([a-z2-7]{26}\.localhost):([0-9]+)(/.+)", url)
        assert match, url
        self.host, self.port, self.path = f"{match[1]}:{match[2]}", int(match[2]), match[3]
        self.origin = f"http://{self.host}"
        self.cookie = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, address: str = "127.0.0.1", **headers: str
    ) -> Answer:
        """One request with exactly these headers and Host; `Sec_Fetch_Site="…"` names Sec-Fetch-Site."""
        connection = http.client.HTTPConnection(address, self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in ({"Host": self.host} | named).items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def enter(self) -> Answer:
        """Follows the one-time address; the cookie is kept."""
        answer = self.ask("GET", self.path, Sec_Fetch_Site="none")
        self.cookie = (answer.headers["Set-Cookie"] or "").partition(";")[0]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **({"Cookie": self.cookie, "Sec_Fetch_Site": "same-origin"} | headers))

    def call(self, path: str, method: str, **params: Any) -> Any:
        """A call over the bridge; its result, or the error as AssertionError."""
        answer = self.post(path, {"method": method, "params": params})
        assert answer.status == 200, answer
        value = json.loads(answer.body)
        assert "error" not in value, value
        return value["result"]

    def post(self, path: str, value: object, **headers: str) -> Answer:
        sent = {
            "Cookie": self.cookie, "Origin": self.origin, "Sec_Fetch_Site": "same-origin",
            "Content_Type": "application/json",
        }  # fmt: skip
        return self.ask("POST", path, json.dumps(value).encode(), **(sent | headers))
