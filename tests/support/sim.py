"""Virtual time and a simulated datagram network: seeded, replayable, fast.

    loop = SimLoop()                                  an asyncio event loop whose clock only advances when all
    are waiting net = SimNet(loop, random.Random(7), loss=0.05)   delivers datagrams between addresses, late
    or never loop.run_until_complete(...)

`SimLoop` runs unchanged asyncio code: sleeps, timeouts and UDP endpoints (through the SimNet bound to it)
work, an hour of sleep takes no time, and equal seeds give equal runs. Functions for threads run at once, in
place. There are no real sockets: opening one through the loop is an error. When nothing can ever happen again
the loop says so instead of hanging.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import selectors
import socket
from collections.abc import Callable
from typing import Any, cast

Address = tuple[str, int]
Receiver = Callable[[bytes, Address], None]


class _VirtualSelector(selectors.SelectSelector):
    """Instead of waiting, moves the clock to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: SimLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        assert loop is not None
        if timeout is None or timeout > 0:
            loop.pass_time(math.inf if timeout is None else loop.now + timeout)
        return []


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop under virtual time. `now` starts at 0; `names` is what getaddrinfo resolves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.net: SimNet | None = None
        self.names: dict[str, str] = {}
        selector = _VirtualSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now

    def pass_time(self, until: float) -> None:
        """Advances the clock to `until`, or to the first datagram or timer that gives the loop something to
        do.

        Datagrams are delivered from here rather than as callbacks of their own: there are a great many.
        """
        inner = cast(Any, self)
        while not inner._ready:
            if inner._scheduled:
                until = min(until, inner._scheduled[0]._when)
            if self.net is None or self.net.next_arrival > until:
                break
            self.now = max(self.now, self.net.next_arrival)
            self.net.deliver_next()
        else:
            return
        if until == math.inf:
            raise RuntimeError("the simulation waits for something that nothing will ever bring about")
        self.now = max(self.now, until)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs `func` at once: threads have no place under virtual time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as e:
            future.set_exception(e)
        return future

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Resolves the names in `names` and nothing else."""
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, f"{host} does not exist here")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (self.names[host], port))]

    async def create_datagram_endpoint(self, protocol_factory: Any, local_addr: Any = None, **_: Any) -> Any:
        """A UDP endpoint on the SimNet; port 0 picks a free one."""
        if self.net is None or local_addr is None:
            raise RuntimeError("no SimNet, or no local address")
        protocol = protocol_factory()
        transport = _SimTransport(self.net, self.net.free(local_addr), protocol)
        protocol.connection_made(transport)
        return transport, protocol


class SimNet:
    """Carries datagrams between attached addresses. `loss` is a share of datagrams, `latency_s` a range (one
    way).

    `sent`, `lost` and `dead` (to addresses nobody has) count datagrams. All randomness comes from `rng`.
    """

    def __init__(
        self,
        loop: SimLoop,
        rng: random.Random,
        *,
        loss: float = 0.0,
        latency_s: tuple[float, float] = (0.01, 0.1),
    ) -> None:
        self._loop = loop
        self._rng = rng
        self.loss = loss
        self.latency_s = latency_s
        self._receivers: dict[Address, Receiver] = {}
        self._underway: list[tuple[float, int, bytes, Address, Address]] = []
        self._sequence = 0
        self.sent = self.lost = self.dead = 0
        loop.net = self

    def attach(self, address: Address, receive: Receiver) -> None:
        """From now on `receive(data, source)` gets what is sent to `address`."""
        if address in self._receivers:
            raise OSError(98, f"{address} is in use")
        self._receivers[address] = receive

    def detach(self, address: Address) -> None:
        """Nobody is at `address` any more; datagrams on their way are lost."""
        self._receivers.pop(address, None)

    def free(self, address: Address) -> Address:
        """`address`, or one with a free port if its port is 0."""
        host, port = address
        while port == 0 or (host, port) in self._receivers:
            if port:
                raise OSError(98, f"{address} is in use")
            port = self._rng.randrange(20000, 60000)
        return host, port

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """Sends one datagram: it arrives after a random latency unless it is lost."""
        self.sent += 1
        if self._rng.random() < self.loss:
            self.lost += 1
            return
        low, high = self.latency_s
        self._sequence += 1
        arrival = self._loop.now + low + (high - low) * self._rng.random()
        heapq.heappush(self._underway, (arrival, self._sequence, data, source, destination))

    @property
    def next_arrival(self) -> float:
        """When the next datagram arrives; infinity if none is underway."""
        return self._underway[0][0] if self._underway else math.inf

    def deliver_next(self) -> None:
        """Hands over the datagram that arrives first."""
        _, _, data, source, destination = heapq.heappop(self._underway)
        receive = self._receivers.get(destination)
        if receive is None:
            self.dead += 1
        else:
            receive(data, source)


class _SimTransport(asyncio.DatagramTransport):
    def __init__(self, net: SimNet, address: Address, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"sockname": address})
        self._net = net
        self._address = address
        self._protocol = protocol
        self._closing = False
        net.attach(address, protocol.datagram_received)

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._closing:
            self._net.send(bytes(data), self._address, addr)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._net.detach(self._address)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close


class Churn:
    """Replaces members at random: `share_per_hour` of `population()` leave per hour, each by a call of
    `replace`.

    The times are those of a Poisson process, as of people who come and go independently.
    """

    def __init__(
        self,
        loop: SimLoop,
        rng: random.Random,
        *,
        share_per_hour: float,
        population: Callable[[], int],
        replace: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._share_per_hour = share_per_hour
        self._population = population
        self._replace = replace
        self.replaced = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins; the first replacement comes after a random while."""
        rate = self._share_per_hour * max(1, self._population()) / 3600.0
        self._timer = self._loop.call_later(self._rng.expovariate(rate), self._step)

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()

    def _step(self) -> None:
        self.replaced += 1
        self._replace()
        self.start()


def run(loop: SimLoop, seconds: float) -> None:
    """Lets `seconds` of virtual time pass."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.sleep(seconds))
    finally:
        asyncio.set_event_loop(None)
