"""No test reaches beyond this machine.

An audit hook sees what Python code is about to do with a socket and refuses what would leave the machine,
before the system call. Allowed are 127.0.0.0/8, ::1, Unix sockets and netlink, and mDNS multicast from a
socket tied to loopback. Inside a network namespace other than the one the test session started in, every
address that is not globally routed is allowed too, and the public ones that NETGUARD_PLAYED names: hosts
that the test itself plays there. Names other than localhost are not looked up anywhere.

A refusal raises OutsideTraffic, an OSError such as a firewall would cause, and adds a line to the file that
NETGUARD_LOG names. `conftest.py` fails the running test when that file grows, so code that
swallows the error fails too. Processes that a test starts guard themselves as they start:
`environ_for_children` puts `guarded/sitecustomize.py` on their PYTHONPATH, and a Python process about to be
started without it is itself a violation. Isolated ones (`python -I`) ignore PYTHONPATH; a `.pth` file in
the test environment, inert outside test sessions, reaches them (`python guard.py` installs it, `make test`
does so).

What this cannot see: code that is not Python. libtorrent makes its own system calls, so interop tests bind
it to
127.0.0.1 and switch off its LSD, UPnP and NAT-PMP; tools like curl and nginx are given loopback addresses
only.

Standard library only, and imported by itself: it also runs at the start of processes that are not tests.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the typing module costs a process milliseconds at its start
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

LOG = "NETGUARD_LOG"
HOST_NAMESPACE = "NETGUARD_HOST_NETNS"
PLAYED = "NETGUARD_PLAYED"  # addresses with commas between; without effect outside a test's namespace
GUARDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guarded")
PTH_NAME = "pearrt-test-guard.pth"

LOCAL_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
MDNS_GROUPS = frozenset({"224.0.0.251", "ff02::fb"})
MDNS_PORT = 5353


class OutsideTraffic(PermissionError):
    """Something was about to leave the machine."""


def network_namespace() -> str:
    """What identifies the calling thread's network namespace, or nothing where there are none."""
    try:
        return os.readlink("/proc/thread-self/ns/net")
    except OSError:
        return ""


def in_test_namespace() -> bool:
    """Whether this thread is in another network namespace than the one the session started in."""
    host = os.environ.get(HOST_NAMESPACE, "")
    return bool(host) and network_namespace() not in ("", host)


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in LOCAL_NAMES
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_public(host: str) -> bool:
    """Whether a namespace does not make this target harmless: a global address, or a name."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_global and not ipaddress.ip_address(host).is_multicast
    except ValueError:
        return host not in LOCAL_NAMES and host not in ("", "<broadcast>")


def _is_mdns_on_loopback(sock: Any, host: str) -> bool:
    import socket

    if host not in MDNS_GROUPS:
        return False
    if _is_loopback(sock.getsockname()[0]):
        return True
    if sock.family == socket.AF_INET:
        interface = sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)
        return _is_loopback(socket.inet_ntoa(interface))
    index = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF)
    return any(number == index and name == "lo" for number, name in socket.if_nameindex())


def _is_mdns_listener(event: str, sock: Any, host: str, port: int) -> bool:
    """A listener for mDNS has to bind the wildcard address; what it sends is judged by its target."""
    import socket

    return (
        event == "socket.bind"
        and port == MDNS_PORT
        and sock.type == socket.SOCK_DGRAM
        and host in ("", "0.0.0.0", "::")
    )


def judge_address(event: str, sock: Any, address: object) -> str:
    """Why a socket may not use this address, or nothing when it may."""
    import socket

    if address is None:  # a datagram on a connected socket: the connect was judged
        return ""
    local_families = [getattr(socket, name, None) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG")]
    if sock.family in local_families:
        return ""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return "" if in_test_namespace() else f"{event} on {sock.family!r}"
    host, port = _host_text(address[0]), address[1]
    if _is_loopback(host) or _is_mdns_on_loopback(sock, host) or _is_mdns_listener(event, sock, host, port):
        return ""
    if in_test_namespace() and (not _is_public(host) or host in os.environ.get(PLAYED, "").split(",")):
        return ""
    return f"{event} to {host or 'every address'} port {port}"


def judge_name(event: str, host: object) -> str:
    """Why a name may not be looked up, or nothing when it needs no network."""
    import ipaddress

    text = _host_text(host)
    if text in LOCAL_NAMES or text == "":
        return ""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f"{event} of {text}"
    return ""


def judge_process(argv: Sequence[object], environ: Mapping[Any, Any] | None) -> str:
    """Why a process may not be started, or nothing: a Python process must carry the guard."""
    if environ is None or not argv:
        return ""
    name = os.path.basename(os.fsdecode(argv[0]))  # type: ignore[arg-type]
    isolated = any(option in ("-I", "-E", "-S") for option in argv[1:4])
    if not name.startswith(("python", "pearrt")) or isolated:
        return ""
    values = {os.fsdecode(key): os.fsdecode(value) for key, value in environ.items()}
    if GUARDED in values.get("PYTHONPATH", "").split(os.pathsep) and values.get(LOG):
        return ""
    return f"{name} is started without the guard: give it the environment of this process and add to that"


def _host_text(host: object) -> str:
    if isinstance(host, (bytes, bytearray)):
        return host.decode("ascii", "replace")
    return host if isinstance(host, str) else ""


def _judge(event: str, args: tuple[Any, ...]) -> str:
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        return judge_address(event, args[0], args[1])
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return judge_name(event, args[0])
    if event == "subprocess.Popen":
        argv = [args[1]] if isinstance(args[1], (str, bytes, os.PathLike)) else list(args[1])
        return judge_process(argv, args[3])
    return ""


def record(line: str) -> None:
    """Adds a violation to the log that the test session watches."""
    if path := os.environ.get(LOG):
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{' '.join(sys.argv)[:200]}: {line}\n")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not event.startswith(("socket.", "subprocess.")):
        return
    if reason := _judge(event, args):
        record(reason)
        raise OutsideTraffic(f"tests stay on this machine: {reason}")


def install() -> None:
    """Guards this process for good: an audit hook cannot be removed."""
    sys.addaudithook(_hook)


def install_pth() -> str:
    """Writes the `.pth` file, inert where LOG is not set, into this site-packages; returns its path."""
    import sysconfig

    path = os.path.join(sysconfig.get_path("purelib"), PTH_NAME)
    act = f"sys.path.insert(0, {GUARDED!r}), __import__('sitecustomize')"
    line = f"import os, sys; os.environ.get({LOG!r}) and ({act})\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(line)
    return path


def environ_for_children(environ: Mapping[str, str], log: str) -> dict[str, str]:
    """`environ` with what makes a Python process guard itself at its start and report to `log`."""
    paths = [GUARDED, *(part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part)]
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        LOG: log,
        HOST_NAMESPACE: environ.get(HOST_NAMESPACE) or network_namespace(),
    }


if __name__ == "__main__":
    print(install_pth())
