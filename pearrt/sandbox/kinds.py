"""Which kinds of app may start where. Pure.

    kind      what runs                                       contained by
    python    the interpreter with the app's modules          the sandbox, tiers A to C
    wasi      the interpreter with wasmtime and a module      the sandbox, tiers A to C, and the engine;
                                                              the engine alone, tier D
    exec      a native program of the app's                   the sandbox, tiers A and B, and `run.native`
    web       pages; with a backend, as `python` beside them  the browser; the backend by the sandbox

Linux has the sandbox of `layout.py`. macOS has one that is weaker and was never tried on a machine of its own
(`macos.py`): tier C at best, so no `exec`. Windows has none that holds. Two kinds need none there: pages
without a backend, which the browser contains, and `wasi`, which wasmtime does, with no second wall behind it
(`engine_run.py`); nothing else is started.
"""

from __future__ import annotations

from pearrt.bundle.manifest import Manifest
from pearrt.errors import Denied, SandboxError, Unsupported
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Tier

NATIVE_TIERS = (Tier.A, Tier.B)


def needs_sandbox(manifest: Manifest) -> bool:
    """Whether anything of the app runs outside of the browser."""
    return manifest.kind != "web" or manifest.backend is not None


def has_python(manifest: Manifest) -> bool:
    """Whether the app has modules of its own that an interpreter runs."""
    return manifest.kind == "python" or manifest.backend is not None


def contained_by_engine(manifest: Manifest, system: str) -> bool:
    """Whether an app of this kind is run with its engine as the one wall on this system (`sys.platform`)."""
    return system == "win32" and manifest.kind == "wasi"


def warnings(manifest: Manifest, system: str) -> list[str]:
    """What a person is to know before they approve an app of this kind on this system."""
    if not contained_by_engine(manifest, system):
        return []
    return ["On Windows only its WebAssembly engine contains it: no wall of the system's stands behind that."]


def fault(manifest: Manifest, permissions: Permissions, tier: Tier) -> SandboxError | None:
    """Why an app of this kind does not start on a machine of this tier, which contains others."""
    if not needs_sandbox(manifest):
        return Unsupported(f"{manifest.name} is of kind web and has nothing to run outside of the browser.")
    if manifest.kind != "exec":
        return None
    if not permissions.run_native:
        return not_given(manifest, "run.native")
    if tier not in NATIVE_TIERS:
        return Unsupported(
            f"Native programs run on tiers A and B; this machine is on tier {tier}.",
            hint="`pearrt doctor` says which layer is missing and how to get it.",
        )
    return None


def not_given(manifest: Manifest, name: str) -> Denied:
    """Why an app does not start that lacks the permission `name`, which its kind needs: somebody never asked,
    or never gave."""
    needs = f"{manifest.name} does not start without the permission {name}"
    if name in Permissions.parse(manifest.permissions).optional():
        return Denied(
            f"{needs}, which you refused or took back.", hint=f"`pearrt run --grant {name}` gives it."
        )
    return Denied(f"{needs} and does not ask for it.", hint="Its publisher must ask for it.")
