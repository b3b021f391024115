"""A runtime release without any daemon: signed in memory, served by a plain web server that can be made to
misbehave."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import Staged, stage_tree
from pearrt.link import Link, encode_key
from pearrt.platform_tag import platform_tags
from tests.support.repository import NOW, Repository, text_of
from tests.support.trees import noise, write_tree

Fault = Callable[[bytes], bytes | None]


def small_tree(folder: Path, version: str, size: int = 40_000) -> Path:
    """What a runtime's tree must have to be taken for one, and some bytes; a starter that says who it is."""
    starter = f"import sys\nprint('pearrt {version}', *sys.argv[1:])\n"
    files = {"pearrt/runtime/start.py": starter.encode(), "pearrt/__init__.py": b""}
    files |= {f"lib/{number}.bin": noise(number, size) for number in range(40)}
    return write_tree(folder, files)


@dataclass
class StaticRuntime:
    """Releases of one runtime: `release` makes and signs one; `serve` offers what is there."""

    folder: Path
    repository: Repository = field(default_factory=Repository)
    blocks: dict[bytes, bytes] = field(default_factory=dict)
    staged: dict[str, Staged] = field(default_factory=dict)

    @property
    def link(self) -> Link:
        return Link(self.repository.app_key)

    def release(self, version: str, *, platform: str = "", codec: str = "zlib", size: int = 40_000) -> Staged:
        platform = platform or platform_tags()[0]
        manifest = Manifest("pearrt", version, Entry(module="pearrt"), platform=platform)
        tree = small_tree(self.folder / f"{version}-{platform}-{codec}", version, size)
        staged = stage_tree(tree, manifest, self.blocks.__setitem__, codec=codec, level=1)
        custom = {
            "name": "pearrt",
            "version": version,
            "blocks": [block_id.hex() for block_id in staged.index_blocks],
            "notes": "",
            "released": text_of(NOW),
        }
        target = {
            "length": len(staged.index_bytes),
            "hashes": {"sha256": staged.digest.hex()},
            "custom": custom,
        }
        self.repository["targets"]["targets"][f"stable/{platform}"] = target
        self.repository.bump("targets")
        self.staged[version] = staged
        return staged

    @contextlib.contextmanager
    def serve(self, fault: Fault = lambda data: data, *, metadata: bytes | None = None) -> Iterator[Server]:
        """A web server with the metadata as it is now (or `metadata`) and all blocks. `fault` is given each
        block that is asked for and gives what is sent; None: 404."""
        encoded = self.repository.metadata().encode() if metadata is None else metadata
        with Server(encode_key(self.repository.app_key), encoded, self.blocks, fault) as server:
            yield server


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that are killed break off: no news."""


class Server:
    """A context manager; `url` is a mirror's address. `asked` are the ids of the blocks that were sent."""

    def __init__(self, key: str, metadata: bytes, blocks: dict[bytes, bytes], fault: Fault) -> None:
        self.asked: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = outer.answer(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body or b"")

            def log_message(self, *args: object) -> None:
                pass

        self._paths = {f"/pearrt/v1/{key}/metadata": metadata}
        self._blocks = blocks
        self._fault = fault
        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> bytes | None:
        prefix = "/pearrt/v1/block/"
        if not path.startswith(prefix):
            return self._paths.get(path)
        block_id = bytes.fromhex(path.removeprefix(prefix))
        self.asked.append(block_id)
        data = self._blocks.get(block_id)
        return None if data is None else self._fault(data)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
