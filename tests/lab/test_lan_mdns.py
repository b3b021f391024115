"""mDNS between hosts of one LAN: each in a network namespace of its own, on one bridge, with no way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.namespaces import Lan
from tests.support.require import require, require_root

pytestmark = [pytest.mark.lab]

NEIGHBOURS = """
import asyncio, json, sys
from pearrt.lan.service import LanService

async def main(host, port, others):
    async with LanService(port=port, interfaces=[host]) as lan:
        found = []
        async with asyncio.timeout(15):
            async for address in lan.find(bytes(32)):
                if address not in found:
                    found.append(address)
                if len(found) == others:
                    break
        print(json.dumps([found, lan.error]), flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    require("ip")
    require_root()
    with Lan(3) as lan:
        yield lan


def test_all_hosts_of_a_lan_find_each_other(lan: Lan) -> None:
    ports = {host: 7001 + number for number, host in enumerate(lan.hosts)}
    hosts = {
        host: subprocess.Popen(
            [
                *("ip", "netns", "exec", host),
                *(sys.executable, "-c", NEIGHBOURS, lan.address(host), str(port), str(len(ports) - 1)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ),
        )
        for host, port in ports.items()
    }
    try:
        for host, process in hosts.items():
            assert process.stdout is not None
            line = process.stdout.readline()
            found, error = json.loads(line)
            assert error is None
            expected = {(lan.address(other), port) for other, port in ports.items() if other != host}
            assert {tuple(address) for address in found} == expected
    finally:
        for process in hosts.values():
            process.communicate(timeout=10)
