"""A release that enough signers signed and that waits for the app's witnesses.

It is a metadata set with the cosignatures so far, kept beside what is published (`publication.py`). Nobody is
given it but the witnesses; whoever got hold of it could do nothing with it, as clients demand a quorum of
them. Once there are enough, it is confirmed anew by the heartbeat and takes the place of what is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pearrt.errors import BadSignature, UserError
from pearrt.publish.draft import display_name
from pearrt.publish.witness_answer import WitnessAnswer, WitnessRequest
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Signer
from pearrt.trust.metadata_set import MAX_CURRENT_BYTES, MetadataSet
from pearrt.trust.witness import (
    COSIGNATURE_BYTES,
    MAX_WITNESSED_BYTES,
    Cosignature,
    decode_cosignatures,
    encode_cosignatures,
    step_version,
)
from pearrt.trust.witness_book import Demand, demands

_NAMES_BYTES = 512  # what bencode adds for the names of the heads


@dataclass(frozen=True, slots=True)
class Waiting:
    """`offered` is verified as everyone will, but for the witnesses; its cosignatures are valid, and may be
    too few. `published_root` is the version of the newest root that is published."""

    offered: TrustedApp
    published_root: int

    @classmethod
    def of(cls, trusted: TrustedApp, offered: TrustedApp) -> Waiting:
        """`offered` with the cosignatures that still hold, out of those of what is published.

        Raises UserError where there is no room for those that are to come.
        """
        old, new = trusted.checkpoints, offered.checkpoints
        same = trusted.root.witnesses == offered.root.witnesses
        kept = {
            name: data
            for name, data in trusted.metadata.witnessed.items()
            if step_version(name) or (same and name in new and old.get(name) == new[name])
        }
        made = cls(_with(offered, kept), trusted.root.version)
        made._check_room()
        return made

    @property
    def metadata(self) -> MetadataSet:
        return self.offered.metadata

    @property
    def request(self) -> WitnessRequest:
        """What witnesses are asked to see."""
        return WitnessRequest(self.offered.app_key, self._shown.metadata)

    @property
    def demands(self) -> tuple[Demand, ...]:
        """The heads that are to be cosigned, by name: the same whoever answered already."""
        return tuple(sorted(demands(self._shown), key=lambda demand: demand.name))

    @property
    def _shown(self) -> TrustedApp:
        """Without the cosignatures of what waits."""
        seen = self.metadata.witnessed.items()
        return _with(
            self.offered,
            {name: data for name, data in seen if 0 < (step_version(name) or 0) <= self.published_root},
        )

    @property
    def is_complete(self) -> bool:
        return all(len(self._seen(each)) >= each.witnesses.threshold for each in self.demands)

    @property
    def seen_by(self) -> tuple[Signer, ...]:
        """Witnesses who cosigned all that they were asked for."""
        return tuple(each for each in self._witnesses() if each not in self.awaited)

    @property
    def awaited(self) -> tuple[Signer, ...]:
        """Witnesses who could still cosign something; where it is complete, they need not."""
        return tuple(
            witness
            for witness in self._witnesses()
            if any(witness.public not in self._seen(each) for each in self._asked(witness.public))
        )

    def progress(self) -> str:
        """As `seen by 1 of 2 witnesses: wim; waiting for xia or yan`."""
        needed = max((each.witnesses.threshold for each in self.demands), default=0)
        seen, awaited = _names(self.seen_by, ", "), _names(self.awaited, " or ")
        text = f"seen by {len(self.seen_by)} of {needed} witnesses" + (f": {seen}" if seen else "")
        return text if self.is_complete else f"{text}; waiting for {awaited}"

    def with_answers(self, answers: Iterable[WitnessAnswer]) -> Waiting:
        """With the cosignatures in `answers`, each verified.

        Raises BadSignature for a stranger's answer or one of another release.
        """
        witnessed = dict(self.metadata.witnessed)
        for answer in answers:
            asked = self._asked(answer.public)
            if not asked:
                raise BadSignature("An answer is by somebody who is no witness of this app.")
            name = next(
                display_name(each)
                for each in asked[0].witnesses.signers.values()
                if each.public == answer.public
            )
            made = [Cosignature(answer.public, answer.time, signature) for signature in answer.signatures]
            if len(made) != len(asked) or not all(
                each.is_valid(demand.checkpoint) for each, demand in zip(made, asked, strict=True)
            ):
                raise BadSignature(
                    f"The answer by {name} is of another release than the one that waits.",
                    hint="Send the witnesses the newest file: `pearrt release witness LINK` writes it.",
                )
            for each, demand in zip(made, asked, strict=True):
                known = decode_cosignatures(witnessed.get(demand.name, b""))
                others = [other for other in known if other.public != each.public]
                witnessed[demand.name] = encode_cosignatures([*others, each])
        return replace(self, offered=_with(self.offered, witnessed))

    def _check_room(self) -> None:
        to_come = sum(len(each.witnesses.signers) for each in self.demands) * COSIGNATURE_BYTES
        seen = sum(map(len, self.metadata.witnessed.values()))
        if seen + to_come > MAX_WITNESSED_BYTES or (
            to_come and self.metadata.current_bytes + to_come + _NAMES_BYTES > MAX_CURRENT_BYTES
        ):
            raise UserError(
                "There is no room for what the app's witnesses are to cosign.",
                hint="Every signer together can go on without witnesses, or with fewer of them.",
            )

    def _asked(self, public: bytes) -> list[Demand]:
        return [
            each
            for each in self.demands
            if any(public == witness.public for witness in each.witnesses.signers.values())
        ]

    def _seen(self, demand: Demand) -> set[bytes]:
        data = self.metadata.witnessed.get(demand.name, b"")
        return {each.public for each in decode_cosignatures(data)}

    def _witnesses(self) -> tuple[Signer, ...]:
        found = {
            witness.public: witness for each in self.demands for witness in each.witnesses.signers.values()
        }
        return tuple(found.values())

    @classmethod
    def restore(cls, trusted: TrustedApp, data: bytes) -> Waiting | None:
        """What an encoded set beside the published `trusted` says; None where it is published by now.

        Raises TrustError or RemoteError for other bytes.
        """
        metadata = MetadataSet.decode(data)
        offered = TrustedApp.first(trusted.app_key, metadata, 0.0, allow_expired=True, unwitnessed=True)
        return None if _said(offered) == _said(trusted) else cls(offered, trusted.root.version)


def _with(offered: TrustedApp, witnessed: Mapping[str, bytes]) -> TrustedApp:
    return replace(offered, metadata=replace(offered.metadata, witnessed=dict(witnessed)))


def _said(trusted: TrustedApp) -> list[bytes]:
    signed = (trusted.root, trusted.targets, *trusted.channels.values())
    return [each.envelope.payload for each in signed]


def _names(signers: Iterable[Signer], between: str) -> str:
    return between.join(display_name(signer) for signer in signers)
