"""Gossip of timestamps: only what is trusted is told, each thing once, nothing is hidden for long."""

from __future__ import annotations

from pearrt.errors import BadSignature, Equivocation, Expired
from pearrt.swarm.gossip import BURST, Gossip, News


class Judge:
    """Timestamps are bytes that compare; b"!" is forged, b"~" expired, b"?" equivocates."""

    def __init__(self, ours: bytes | None) -> None:
        self.ours = ours
        self.asked = 0

    def __call__(self, raw: bytes) -> bool:
        self.asked += 1
        for lead, error in ((b"!", BadSignature), (b"~", Expired), (b"?", Equivocation)):
            if raw.startswith(lead):
                raise error("no")
        return self.ours is None or raw > self.ours


def gossip(ours: bytes | None = b"5") -> tuple[Gossip[str], Judge]:
    judge = Judge(ours)
    return Gossip(ours, judge), judge


def test_a_new_peer_is_told_ours() -> None:
    g, _ = gossip()
    assert g.joined("a", 0) == b"5"
    assert gossip(None)[0].joined("a", 0) is None


def test_a_newer_one_is_news_but_is_not_passed_on_before_it_is_trusted() -> None:
    g, _ = gossip()
    g.joined("a", 0)
    g.joined("b", 0)
    assert g.heard("a", b"6", 0) is News.NEWER
    assert g.newest == b"5"
    assert g.to_tell() == []
    assert g.knows_newer("a")
    assert not g.knows_newer("b")
    g.ours_changed(b"6")
    assert g.to_tell() == ["b"]
    assert g.to_tell() == []
    assert not g.knows_newer("a")


def test_an_older_one_after_a_newer_is_answered_with_ours_once() -> None:
    g, _ = gossip(None)
    g.joined("a", 0)
    g.ours_changed(b"6")
    assert g.heard("a", b"5", 0) is News.NEWER or g.newest == b"6"
    judge = Judge(b"6")
    g = Gossip(b"6", judge)
    g.joined("a", 0)
    assert g.heard("a", b"5", 0) is News.OLDER
    assert g.answer("a") is None  # it was told on joining
    g.joined("b", 0)
    g.ours_changed(b"7")
    assert g.heard("b", b"5", 1) is News.OLDER
    assert g.answer("b") == b"7"
    assert g.answer("b") is None


def test_a_forged_one_is_refused_and_judged_once() -> None:
    g, judge = gossip()
    g.joined("a", 0)
    g.joined("b", 0)
    assert g.heard("a", b"!", 0) is News.REFUSED
    assert g.heard("b", b"!", 0) is News.REFUSED
    assert judge.asked == 1
    assert g.newest == b"5"


def test_an_expired_or_equivocal_one_is_nobodys_offence() -> None:
    g, _ = gossip()
    g.joined("a", 0)
    assert g.heard("a", b"~", 0) is News.OLDER
    assert g.heard("a", b"?", 0) is News.IGNORED


def test_a_peer_can_cause_few_judgements() -> None:
    g, judge = gossip()
    g.joined("a", 0)
    for n in range(1000):
        g.heard("a", b"1%d" % n, 0)
    assert judge.asked == BURST
    g.heard("a", b"2", 10)
    assert judge.asked == BURST + 1


def test_one_that_withholds_the_newest_hides_nothing() -> None:
    g, _ = gossip()
    for peer in ("withholder", "honest"):
        g.joined(peer, 0)
    assert g.heard("withholder", b"5", 0) is News.SAME
    assert g.heard("honest", b"6", 0) is News.NEWER


def test_a_newer_one_not_adopted_is_news_again_later_and_from_others_at_once() -> None:
    g, _ = gossip()
    g.joined("a", 0)
    g.joined("b", 0)
    assert g.heard("a", b"6", 0) is News.NEWER
    assert g.heard("a", b"6", 1) is News.IGNORED
    assert g.heard("b", b"6", 1) is News.NEWER
    assert g.heard("a", b"6", 20) is News.NEWER


def test_memory_is_bounded() -> None:
    g, _ = gossip()
    g.joined("a", 0)
    for n in range(2000):
        g.heard("a", b"1%d" % n, n)
    assert len(g._judged) <= 256
    assert len(g._partners["a"].told) <= 16
