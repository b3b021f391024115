"""Which running apps are in which circles: one circle of the swarm for each app and name, shared by all of
the app that run here; it is left when the last of them has gone or the person takes `p2p` back.

An app hears `p2p.peer` {circle, peer, here} and `p2p.message` {circle, peer, data}. Events that it does not
read are dropped (`wire.py`), so nothing of a circle piles up here.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pearrt.daemon.instance import Instance
from pearrt.errors import LimitExceeded, PearrtError, UserError
from pearrt.swarm.circle import Circle, circle_topic

log = logging.getLogger(__name__)

MAX_CIRCLES_OF_APP = 8
MAX_CIRCLES = 64


class Swarm(Protocol):
    """What of `SwarmService` is needed here."""

    def enter(
        self, topic: bytes, *, heard: Callable[[str, bytes], None], changed: Callable[[str, bool], None]
    ) -> Circle: ...

    def go(self, circle: Circle) -> None: ...


@dataclass(slots=True, eq=False)
class _Joined:
    name: str
    circle: Circle | None = None
    instances: set[Instance] = field(default_factory=set)

    def tell(self, event: dict[str, Any]) -> None:
        for instance in self.instances:
            instance.tell({**event, "circle": self.name})


class Circles:
    """`topic_of` gives an app's own topic, from which those of its circles are derived."""

    def __init__(self, swarm: Swarm, topic_of: Callable[[bytes], bytes]) -> None:
        self._swarm = swarm
        self._topic_of = topic_of
        self._joined: dict[tuple[bytes, str], _Joined] = {}

    def join(self, instance: Instance, name: str) -> list[str]:
        """Joins; gives who is there, and tells it. Raises UserError for a bad name, LimitExceeded for too
        many circles."""
        key = (instance.app_key, name)
        topic = circle_topic(self._topic_of(instance.app_key), name)
        joined = self._joined.get(key)
        if joined is None:
            of_app = sum(app_key == instance.app_key for app_key, _ in self._joined)
            if of_app >= MAX_CIRCLES_OF_APP or len(self._joined) >= MAX_CIRCLES:
                raise LimitExceeded("Too many circles are joined.", hint="Leave one first.")
            joined = self._joined[key] = _Joined(name)
            joined.circle = self._swarm.enter(
                topic,
                heard=lambda peer, data: joined.tell(
                    {"event": "p2p.message", "peer": peer, "data": b64encode(data).decode()}
                ),
                changed=lambda peer, here: joined.tell({"event": "p2p.peer", "peer": peer, "here": here}),
            )
        joined.instances.add(instance)
        instance.circles.add(name)
        assert joined.circle is not None
        names = joined.circle.names
        for peer in names:  # among the events, so that they are in order with those that follow
            instance.tell({"event": "p2p.peer", "circle": name, "peer": peer, "here": True})
        return names

    def of(self, instance: Instance, name: str) -> Circle:
        """A circle that the instance has joined. Raises UserError where it has not."""
        joined = self._joined.get((instance.app_key, name))
        if joined is None or joined.circle is None or instance not in joined.instances:
            raise UserError("That circle is not joined.", hint="Call p2p.join first.")
        return joined.circle

    def leave(self, instance: Instance, name: str) -> None:
        """Leaves, if it was joined."""
        instance.circles.discard(name)
        joined = self._joined.get((instance.app_key, name))
        if joined is None:
            return
        joined.instances.discard(instance)
        if not joined.instances:
            del self._joined[(instance.app_key, name)]
            assert joined.circle is not None
            self._swarm.go(joined.circle)

    def ended(self, instance: Instance) -> None:
        """Leaves all circles of an instance: it has ended, or may not be in any."""
        for name in list(instance.circles):
            self.leave(instance, name)

    def again(self, instance: Instance) -> None:
        """Joins what the instance had joined by the daemon before this one."""
        names, instance.circles = sorted(instance.circles), set()
        for name in names:
            try:
                self.join(instance, name)
            except PearrtError as e:
                log.warning("a circle was not joined again: %s", e)
