"""The start of the bootstrapper, in any Python: says so where that is too old, and leaves the environment
behind.

`python3 bootstrap` from the source tree and `python3 pearrt-bootstrap.pyz` both begin here. Whatever
PYTHONPATH, a user's site-packages or a sitecustomize would bring in does not reach what follows: it runs in a
fresh interpreter with -I (no environment, no user's folders) and -S (no site-packages).

In the one file, all other modules lie in `core.tar.xz`, which `unzip -p FILE core.tar.xz | tar tJ` lists;
what it carries is in `carried.json`.
"""

import os
import sys

NEEDED = (3, 11)
CORE = "core.tar.xz"
CARRIED = "carried.json"


def main():  # type: ignore[no-untyped-def]  # old Pythons read this too
    if sys.version_info < NEEDED:
        needed, here = ".".join(map(str, NEEDED)), ".".join(map(str, sys.version_info[:3]))
        sys.stderr.write("error: pearrt needs Python %s or later; this is Python %s.\n" % (needed, here))  # noqa: UP031
        sys.stderr.write("  try: install a newer Python, then: python3.11 %s\n" % sys.argv[0])  # noqa: UP031
        sys.exit(2)
    here = os.path.abspath(sys.path[0])  # this folder, or the one file
    if not (sys.flags.isolated and sys.flags.no_site) and sys.executable and os.name == "posix":
        os.execv(sys.executable, [sys.executable, "-I", "-S", here] + sys.argv[1:])  # noqa: RUF005, S606
    carried = None
    if os.path.isdir(here):
        sys.path[0] = os.path.dirname(here)
    else:
        archive = globals()["__loader__"]
        carried = archive.get_data(os.path.join(here, CARRIED))
        modules = unpacked(archive.get_data(os.path.join(here, CORE)))  # type: ignore[no-untyped-call]
        sys.meta_path.insert(0, Core(here, modules))  # type: ignore[no-untyped-call]
    from bootstrap.program import run

    sys.exit(run(sys.argv[1:], carried))


def unpacked(data):  # type: ignore[no-untyped-def]
    """Path -> source of every file in the archive (POSIX ustar), which is this program's own."""
    import lzma

    data = lzma.decompress(data)
    files, at = {}, 0
    while data[at : at + 1] not in (b"\0", b""):
        name = data[at : at + 100].rstrip(b"\0").decode()
        size = int(data[at + 124 : at + 135], 8)
        files[name] = data[at + 512 : at + 512 + size]
        at += 512 + -(-size // 512) * 512
    return files


class Core:
    """Finds and loads the modules of the archive (PEP 451)."""

    def __init__(self, here, files):  # type: ignore[no-untyped-def]
        from importlib.machinery import ModuleSpec  # before this is asked for modules itself

        self.make = ModuleSpec
        self.here = here
        self.files = files

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        stem = name.replace(".", "/")
        for file, package in ((stem + "/__init__.py", True), (stem + ".py", False)):
            if file in self.files:
                spec = self.make(name, self, origin=os.path.join(self.here, file), is_package=package)  # type: ignore[arg-type]
                spec.has_location = True
                return spec
        return None

    def create_module(self, spec):  # type: ignore[no-untyped-def]
        return None

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        origin = module.__spec__.origin
        code = compile(self.files[os.path.relpath(origin, self.here)], origin, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - this is what importing is

    def get_source(self, name):  # type: ignore[no-untyped-def]
        """For tracebacks."""
        spec = self.find_spec(name)  # type: ignore[no-untyped-call]
        return spec and self.files[os.path.relpath(spec.origin, self.here)].decode()


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
