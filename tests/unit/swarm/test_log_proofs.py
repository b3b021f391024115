"""Proofs of contradicting statements among peers: told once, verified before they are passed on, bounded."""

from __future__ import annotations

from pearrt.errors import BadSignature, ProtocolViolation, ThresholdNotMet
from pearrt.swarm.proofs import BURST, EVERY_S, Heard, Proofs


class App:
    """Keeps the first proof; b"false" proves nothing, b"other" was signed by keys that are not known here."""

    def __init__(self, kept: bytes | None = None) -> None:
        self.kept = kept
        self.asked = 0

    def consider(self, raw: bytes) -> bool:
        self.asked += 1
        if raw == b"false":
            raise BadSignature("forged")
        if raw == b"junk":
            raise ProtocolViolation("no proof")
        if raw == b"other":
            raise ThresholdNotMet("other keys")
        self.kept = raw
        return True


def proofs(app: App) -> Proofs[str]:
    return Proofs(lambda: app.kept, app.consider)


def test_a_proof_is_told_to_who_joins_and_to_all_once_it_is_kept() -> None:
    app = App()
    gossip = proofs(app)
    assert gossip.joined("ada", 0) is None
    assert gossip.joined("bob", 0) is None
    assert gossip.heard("ada", b"proof", 0) is Heard.NEW
    assert gossip.to_tell() == [("bob", b"proof")]  # ada knows it
    assert gossip.to_tell() == []
    assert gossip.joined("cyd", 0) == b"proof"
    assert gossip.heard("bob", b"another proof", 0) is Heard.KNOWN
    assert app.asked == 1


def test_a_false_proof_is_neither_kept_nor_passed_on() -> None:
    app = App()
    gossip = proofs(app)
    for peer, raw in (("ada", b"false"), ("bob", b"junk")):
        gossip.joined(peer, 0)
        assert gossip.heard(peer, raw, 0) is Heard.FALSE
    assert (app.kept, gossip.to_tell()) == (None, [])


def test_a_proof_by_keys_that_are_not_known_here_is_nobodys_fault() -> None:
    gossip = proofs(App())
    gossip.joined("ada", 0)
    assert gossip.heard("ada", b"other", 0) is Heard.KNOWN


def test_a_peer_makes_us_check_few_signatures() -> None:
    app = App()
    gossip = proofs(app)
    gossip.joined("ada", 0)
    told = [gossip.heard("ada", b"other", 0) for _ in range(BURST + 1)]
    assert told == [Heard.KNOWN] * BURST + [Heard.FLOOD]
    assert app.asked == BURST
    assert gossip.heard("ada", b"other", EVERY_S) is Heard.KNOWN
    gossip.left("ada")
    assert gossip.heard("ada", b"proof", EVERY_S) is Heard.KNOWN
    assert app.kept is None
