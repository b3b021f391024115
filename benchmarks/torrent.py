"""libtorrent as a peer of the benchmarks: one session per process, tuned for a fast local transfer.

python benchmarks/torrent.py seed FOLDER TORRENT PORT     prints "ready"
python benchmarks/torrent.py fetch FOLDER TORRENT PORT    prints JSON: seconds from adding to seeding, MB
resident
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import libtorrent as lt

PIECE_BYTES = 1 << 20
TUNED: dict[str, Any] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "in_enc_policy": 2,  # disabled: in the clear, which is faster
    "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True,
    "send_buffer_watermark": 8 << 20,
    "send_buffer_watermark_factor": 200,
    "send_buffer_low_watermark": 1 << 20,
    "max_out_request_queue": 1500,
    "max_allowed_in_request_queue": 2000,
    "request_queue_time": 3,
    "send_socket_buffer_size": 4 << 20,
    "recv_socket_buffer_size": 4 << 20,
    "aio_threads": 4,
    "hashing_threads": 2,
    "max_queued_disk_bytes": 64 << 20,
    "unchoke_slots_limit": 100,
    "connection_speed": 500,
    "rate_limit_ip_overhead": False,
}


def session(port: int) -> Any:
    return lt.session({**TUNED, "listen_interfaces": f"127.0.0.1:{port}", "alert_mask": 0})


def make_torrent(content: Path, torrent: Path, *, version: int) -> None:
    """A torrent of a file or folder: BEP 3, whose SHA-1 pieces span files, or BEP 52, SHA-256 per file."""
    flags = lt.create_torrent.v2_only if version == 2 else lt.create_torrent.v1_only
    files = lt.list_files(str(content)) if hasattr(lt, "list_files") else None
    if files is None:
        storage = lt.file_storage()
        lt.add_files(storage, str(content))
        maker = lt.create_torrent(storage, PIECE_BYTES, flags)
    else:
        maker = lt.create_torrent(files, PIECE_BYTES, flags)
    lt.set_piece_hashes(maker, str(content.parent))
    torrent.write_bytes(lt.bencode(maker.generate()))


def add(ses: Any, folder: Path, torrent: Path, *, seed: bool) -> Any:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(str(torrent))
    params.save_path = str(folder)
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    if seed:
        params.flags |= lt.torrent_flags.seed_mode
    return ses.add_torrent(params)


def main() -> None:
    verb, folder, torrent, port = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if verb == "make":
        make_torrent(folder, torrent, version=port)
    elif verb == "seed":
        ses = session(port)
        add(ses, folder, torrent, seed=True)
        print("ready", flush=True)
        sys.stdin.read()
    else:
        ses = session(0)
        started = time.perf_counter()
        handle = add(ses, folder, torrent, seed=False)
        handle.connect_peer(("127.0.0.1", port))
        while not handle.status().is_seeding:
            time.sleep(0.002)
        seconds = time.perf_counter() - started
        # rusage would count the parent's memory before exec too
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "mb": peak / 1000}))


if __name__ == "__main__":
    main()
