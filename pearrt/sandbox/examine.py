"""The examination: which layers hold here, found by starting the real thing with nothing in it. A shell of
the sandbox room. Versions are never asked, only tried."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import SandboxError, Unsupported
from pearrt.sandbox import host as hosts
from pearrt.sandbox import seccomp, shim
from pearrt.sandbox.cgroup import Group
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import Task
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.process import Sandbox
from pearrt.sandbox.report import Layer, Report, decide

_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_SWITCHES = {
    "/proc/sys/kernel/unprivileged_userns_clone": "1",
    "/proc/sys/user/max_user_namespaces": "10000",
}
_NO_LANDLOCK = Layer(
    "landlock", False, "not in this kernel", "Boot a kernel >= 5.13 with landlock in its lsm= list."
)
_NAMESPACES_AND_FILTER = (
    Layer("namespaces", True, "mount, process, network, IPC, host name, control group"),
    Layer("filter", True, "seccomp allowlist, tried from inside"),
)


def examine() -> Report:
    """Starts nothing but the shim, with as many layers as the machine takes, and says what held."""
    if sys.platform == "darwin":
        from pearrt.sandbox import macos_run

        return macos_run.examine()
    layers = list(_static_layers())
    if all(layer.ok for layer in layers):
        layers += _launched_layers(tuple(layers))
    found = tuple(layers)
    return Report(decide(found), found)


def _static_layers() -> list[Layer]:
    host = hosts.inspect()
    linux = sys.platform == "linux"
    try:
        seccomp.build(host.machine)
        machine = Layer("machine", True, host.machine)
    except Unsupported as e:
        machine = Layer("machine", False, host.machine, e.hint)
    return [
        Layer("system", linux and not host.fault, host.fault or sys.platform, _system_fix(host.fault)),
        machine,
        Layer(
            "bubblewrap",
            host.bubblewrap is not None,
            host.bubblewrap or "bwrap is not installed",
            "" if host.bubblewrap else "Install it: apt install bubblewrap, or dnf install bubblewrap.",
        ),
    ]


def _system_fix(fault: str) -> str:
    if sys.platform != "linux":
        return "Run pearrt on Linux: other systems have no sandbox in this version."
    return "Install Python outside of /app, /data, /proc and /dev." if fault else ""


def _launched_layers(found: tuple[Layer, ...]) -> list[Layer]:
    """Tries the strictest set of layers first, then with one or two fewer."""
    abi = shim.landlock_abi()
    landlock = Layer("landlock", True, f"ABI {abi}") if abi else _NO_LANDLOCK
    optional = [landlock] if abi else []
    if os.geteuid() != 0:
        optional.append(Layer("disable-userns", True, "nested user namespaces are forbidden"))
    failure = first_failure = ""
    for number in range(len(optional), -1, -1):
        for extra in itertools.combinations(optional, number):
            failure = _try_launch((*found, *extra))
            if not failure:
                judged = [layer if layer in extra else _lost(layer, first_failure) for layer in optional]
                judged += [] if abi else [landlock]
                return [*_NAMESPACES_AND_FILTER, *judged, _cgroup_layer()]
            first_failure = first_failure or failure
    return [Layer("namespaces", False, failure, _namespace_fix(failure)), landlock]


def _lost(layer: Layer, failure: str) -> Layer:
    """An optional layer with which no launch succeeded."""
    return replace(layer, ok=False, detail=failure, fix="Update bubblewrap (0.8 or later) and the kernel.")


def _cgroup_layer() -> Layer:
    if group := Group.make(Permissions()):
        group.close()
        return Layer("cgroup", True, "total memory, processes and processors are bounded")
    return Layer(
        "cgroup",
        False,
        "no group can be made here: memory in total is measured, not bounded by the kernel",
        "On a system with cgroup version 2, start pearrt under `systemd-run --user --scope`.",
    )


def _try_launch(layers: tuple[Layer, ...]) -> str:
    """Empty where the shim went through all its doors, else what it or bubblewrap said."""
    with tempfile.TemporaryDirectory(prefix="pearrt-probe-") as folder:
        app, data = Path(folder, "app"), Path(folder, "data")
        app.mkdir()
        app.chmod(0o755)  # whatever the umask
        manifest = Manifest(name="probe", version="1", entry=Entry(module="probe"))
        launch = Launch(bytes(32), manifest, app, data, Permissions())
        names = {layer.name for layer in layers if layer.ok}
        with open(f"{folder}/said", "w+b") as said:
            try:
                Sandbox(launch, names, Task.PROBE, output=said.fileno()).run()
            except SandboxError as e:
                said.seek(0)
                lines = said.read(4096).decode(errors="replace").strip().splitlines()
                return lines[0][:200] if lines else e.message
    return ""


def _namespace_fix(said: str) -> str:
    """The exact step for each way in which namespaces are known to be withheld."""
    if not said.startswith("bwrap: "):
        return "A layer was made and did not hold: please report it, with `pearrt doctor --json`."
    if _content(_APPARMOR) == "1":
        return (
            "AppArmor keeps user namespaces from bubblewrap: apt install apparmor-profiles, then "
            "ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ and "
            "systemctl reload apparmor."
        )
    for path, value in _SWITCHES.items():
        if _content(path) == "0":
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return f"Allow user namespaces: sysctl -w {name}={value}"
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "Start this container with --security-opt seccomp=unconfined --cap-add SYS_ADMIN, or leave it."
    return f"bubblewrap said: {said}"


def _content(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
