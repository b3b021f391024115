# ruff: noqa: SIM115 - an attack ends with its process
"""Terminal and network: typing for the person, reaching sockets of any kind."""

from __future__ import annotations

import fcntl
import os
import pty
import socket

from attacks.harness import attack, refuse


@attack
def type_into_a_terminal(t: dict) -> object:
    _, slave = pty.openpty()
    fcntl.ioctl(slave, 0x5412, b"x")  # TIOCSTI
    return "typed"


@attack
def change_the_line_discipline(t: dict) -> object:
    _, slave = pty.openpty()
    fcntl.ioctl(slave, 0x5423, (0).to_bytes(4, "little"))  # TIOCSETD, N_TTY
    return "changed"


def _connect(family: int, kind: int, address: object, protocol: int = 0) -> object:
    with socket.socket(family, kind, protocol) as s:
        s.settimeout(3)
        s.connect(address)
        return "connected"


@attack
def connect_by_tcp(t: dict) -> object:
    return _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", t["tcp_port"]))


@attack
def connect_by_mptcp(t: dict) -> object:
    return _connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", t["tcp_port"]), 262)


@attack
def send_by_udp(t: dict) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"x", ("127.0.0.1", t["tcp_port"]))


@attack
def open_a_raw_socket(t: dict) -> object:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW).fileno()


@attack
def open_netlink(t: dict) -> object:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).fileno()


@attack
def open_vsock(t: dict) -> object:
    return socket.socket(40, socket.SOCK_STREAM).fileno()


@attack
def open_af_alg(t: dict) -> object:
    return socket.socket(38, socket.SOCK_SEQPACKET).fileno()


@attack
def connect_to_an_abstract_socket(t: dict) -> object:
    return _connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + t["abstract"])


@attack
def connect_to_a_socket_of_the_machine(t: dict) -> object:
    """As D-Bus, X11, Wayland, docker and agents have."""
    return _connect(socket.AF_UNIX, socket.SOCK_STREAM, t["bus"])


@attack
def connect_to_a_visible_socket(t: dict) -> object:
    return _connect(socket.AF_UNIX, socket.SOCK_STREAM, os.path.join(t["data"], "stream.sock"))


@attack
def send_from_a_datagram_pair(t: dict) -> object:
    ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"x", os.path.join(t["data"], "datagram.sock"))


@attack
def send_a_message_from_a_datagram_pair(t: dict) -> object:
    ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendmsg([b"x"], (), 0, os.path.join(t["data"], "datagram.sock"))


@attack
def serve_a_socket(t: dict) -> object:
    path = os.path.join(t["data"], "served.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        os.unlink(path)
    return "listening"


@attack
def find_the_sessions_sockets(t: dict) -> object:
    """Desktop, display, agent and container sockets are named by the environment."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "DISPLAY", "SSH_AUTH_SOCK", "DOCKER_HOST")
    return [name for name in names if name in os.environ] or refuse("none named")


@attack
def listen_on_tcp(t: dict) -> object:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()


@attack
def resolve_a_name(t: dict) -> object:
    return socket.getaddrinfo("localhost", 80)[0][4]


@attack
def connect_without_a_call_to_connect(t: dict) -> object:
    """TCP Fast Open connects while it sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        return s.sendto(b"x", 0x20000000, ("127.0.0.1", t["tcp_port"]))


@attack
def turn_a_pair_into_a_server(t: dict) -> object:
    """A socket pair is all an app can make: it must not listen or be bound."""
    ours, _theirs = socket.socketpair()
    ours.bind(os.path.join(t["data"], "pair.sock"))
    os.unlink(os.path.join(t["data"], "pair.sock"))
    return "bound"


@attack
def read_the_machines_addresses(t: dict) -> object:
    lines = open("/proc/net/dev").read().splitlines()[2:]
    others = [line.split(":")[0].strip() for line in lines if line.split(":")[0].strip() != "lo"]
    return others or refuse("only lo")
