"""The numbers of a DHT node, in one place.

Sources: BEP 5, 32, 42, 43, 44, 45; libtorrent's and pubky/mainline's defaults where the BEPs are silent.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.link import HostPort

DEFAULT_BOOTSTRAP = (
    HostPort("router.bittorrent.com", 6881),
    HostPort("dht.transmissionbt.com", 6881),
    HostPort("router.utorrent.com", 6881),
    HostPort("dht.libtorrent.org", 25401),
)


@dataclass(frozen=True, slots=True)
class DhtSettings:
    """Tuning of one node. Times in seconds; bounds hold for anything that strangers can make grow."""

    k: int = 20  # stores go to the k closest nodes: 20 replicas outlive a day of churn, 1 does not
    search_width: int = 8  # a search ends when this many closest nodes have answered, as libtorrent's does
    reply_contacts: int = 8  # contacts per reply (BEP 5)
    alpha: int = 4  # requests in flight per lookup
    short_timeout_s: float = 1.0  # after this a request no longer holds up the next one
    full_timeout_s: float = 4.0  # after this its answer no longer counts
    max_candidates: int = 128  # contacts that one lookup remembers
    max_lookup_requests: int = 200

    bucket_size: int = 20
    max_replacements: int = 8
    stale_after_s: float = 15 * 60.0  # BEP 5: a node unheard of for so long is questionable
    max_failures: int = 3
    per_prefix_in_bucket: int = 2
    per_prefix_in_lookup: int = 3
    maintenance_period_s: float = 5.0
    self_lookup_period_s: float = 10 * 60.0
    bootstrap_retry_s: float = 5.0
    bootstrap_retry_max_s: float = 120.0

    token_period_s: float = 300.0  # BEP 5; the previous secret stays valid
    max_topics: int = 2000
    max_peers_per_topic: int = 500
    peer_lifetime_s: float = 45 * 60.0
    max_items: int = 2000
    item_lifetime_s: float = 2 * 3600.0  # BEP 44
    max_value_replies_bytes: int = 800  # peers in one reply: it must fit one datagram of 1,400 bytes

    announce_min_s: float = 15 * 60.0
    announce_max_s: float = 30 * 60.0
    republish_s: float = 3600.0

    rate_window_s: float = 10.0
    max_queries_per_window: int = 50  # of one address; beyond that it is banned
    ban_s: float = 300.0
    max_tracked_addresses: int = 4096
    max_reply_bytes_per_s: int = 200_000  # to public addresses, all together: bounds what we can amplify
    max_inflight: int = 2048
