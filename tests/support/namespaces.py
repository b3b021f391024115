"""Hosts of a small LAN: network namespaces on one bridge, made by the test and removed at its end. Needs
root."""

from __future__ import annotations

import os
import subprocess
from types import TracebackType
from typing import Self

SUBNET = "10.77.0"


class Lan:
    """A context manager. `hosts` are names of namespaces; host number n has address 10.77.0.n+1."""

    def __init__(self, size: int) -> None:
        self.tag = f"prt{os.getpid() % 10_000}"
        self.hosts = [f"{self.tag}h{number}" for number in range(size)]
        self.switch = f"{self.tag}sw"

    def address(self, host: str) -> str:
        return f"{SUBNET}.{self.hosts.index(host) + 1}"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _make(self) -> None:
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "br0", "up")
        for number, host in enumerate(self.hosts):
            _ip("netns", "add", host)
            port = f"p{number}"
            _ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            _ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
            _ip("-n", host, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "link", "set", "eth0", "up", "multicast", "on")
            _ip("-n", host, "route", "add", "default", "dev", "eth0")

    def _remove(self) -> None:
        for name in (*self.hosts, self.switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True)
