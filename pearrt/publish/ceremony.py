"""Collecting answers: in any order, each signer once, and always a word on who is awaited.

A rotation has two groups to satisfy, the signers before it and those after it; many a signer is in both and
answers once. An answer is refused whole: an invalid signature, a stranger's key, another request's digest, or
a signer who answered already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, ThresholdNotMet, UserError
from pearrt.publish.answer import Answer
from pearrt.publish.draft import Draft, Signature, combine, display_name
from pearrt.publish.fingerprint import fingerprint
from pearrt.publish.request import Request
from pearrt.trust.authority import Authority, Signer


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one group is. `group` is empty where the request has one group only."""

    group: str
    threshold: int
    have: tuple[Signer, ...]
    missing: tuple[Signer, ...]

    @property
    def met(self) -> bool:
        return len(self.have) >= self.threshold

    def __str__(self) -> str:
        """`2 of 3, waiting for alice or dana`."""
        counted = f"{len(self.have)} of {self.threshold}"
        text = counted if self.met else f"{counted}, waiting for {_awaited(self)}"
        return f"{self.group}: {text}" if self.group else text


@dataclass(frozen=True, slots=True)
class Tally:
    """Where a request stands, group by group."""

    standings: tuple[Standing, ...]

    @property
    def complete(self) -> bool:
        return all(standing.met for standing in self.standings)

    def __str__(self) -> str:
        return "; ".join(map(str, self.standings))


def all_signers(request: Request) -> dict[bytes, Signer]:
    """Who may sign any of the request's drafts, by public key."""
    return {signer.public: signer for draft in request.drafts for signer in draft.signers}


def drafts_of(request: Request, public: bytes) -> list[tuple[int, Draft]]:
    """The drafts that this key may sign, with their positions. Raises BadSignature for a stranger's key."""
    found = [
        (position, draft)
        for position, draft in enumerate(request.drafts)
        if any(signer.public == public for signer in draft.signers)
    ]
    if not found:
        names = ", ".join(display_name(signer) for signer in all_signers(request).values())
        raise BadSignature(
            f"The key {public.hex()[:16]}… is none of those that may sign this request.",
            hint=f"Signers: {names}.",
        )
    return found


def check_answer(request: Request, answer: Answer) -> Signer:
    """Who answered. Raises UserError for another request's answer, BadSignature for a stranger's or a false
    one."""
    if answer.request != request.digest:
        raise UserError(
            f"An answer is to another request: “{fingerprint(answer.request)}”."
            f" This one is “{fingerprint(request.digest)}”.",
            hint="Ask for an answer to this request; each version of a request is signed anew.",
        )
    mine = drafts_of(request, answer.public)
    signer = all_signers(request)[answer.public]
    given = dict(answer.signatures)
    if given.keys() != {position for position, _ in mine}:
        raise BadSignature(f"{display_name(signer)}'s answer does not sign all that it is asked to.")
    for position, draft in mine:
        if not ed25519.verify(answer.public, draft.payload, given[position]):
            raise BadSignature(
                f"The signature of {draft.role} {draft.version} by {display_name(signer)} is false."
            )
    return signer


def collect(request: Request, answers: Iterable[Answer]) -> Request:
    """The request with these answers beside those that it holds; all of them or none.

    Raises as `check_answer`, and UserError for a signer who answered already.
    """
    known: dict[bytes, Answer] = {}
    for answer in (*request.answers, *answers):
        signer = check_answer(request, answer)
        if answer.public in known:
            raise UserError(
                f"{display_name(signer)} answered already, and counts once.",
                hint="Leave the second answer out.",
            )
        known[answer.public] = answer
    return request.with_answers(known[public] for public in sorted(known))


def tally(request: Request) -> Tally:
    """Where a request stands whose answers were checked by `collect`."""
    answered = {answer.public for answer in request.answers}
    groups: dict[tuple[int, frozenset[str]], tuple[str, Authority]] = {}
    for draft in request.drafts:
        for authority in draft.authorities:
            name = _group(draft, authority)
            groups.setdefault((authority.threshold, frozenset(authority.signers)), (name, authority))
    return Tally(
        tuple(
            _standing(name if len(groups) > 1 else "", authority, answered)
            for name, authority in groups.values()
        )
    )


def signatures(request: Request, role: str) -> list[Signature]:
    """What was answered for one draft."""
    position = next(at for at, draft in enumerate(request.drafts) if draft.role == role)
    return [
        Signature(answer.public, dict(answer.signatures)[position])
        for answer in request.answers
        if position in dict(answer.signatures)
    ]


def signed_blobs(request: Request) -> dict[str, bytes]:
    """The signed metadata by role. Raises ThresholdNotMet with who is awaited, BadSignature."""
    checked = collect(request.with_answers(()), request.answers)
    standing = tally(checked)
    if not standing.complete:
        counted = ", ".join(f"{len(each.have)} of {each.threshold}" for each in standing.standings)
        raise ThresholdNotMet(
            f"The request is not signed yet: {counted} signatures.",
            hint=f"{standing}. `pearrt release combine` takes further answers.",
        )
    return {draft.role: combine(draft, signatures(checked, draft.role)) for draft in checked.drafts}


def _group(draft: Draft, authority: Authority) -> str:
    if draft.role == "root":
        return "new signers" if authority is draft.authorities[-1] else "old signers"
    return "the app's signers" if draft.role == "targets" else f"signers of {draft.role}"


def _standing(group: str, authority: Authority, answered: set[bytes]) -> Standing:
    signers = authority.signers.values()
    return Standing(
        group,
        authority.threshold,
        tuple(signer for signer in signers if signer.public in answered),
        tuple(signer for signer in signers if signer.public not in answered),
    )


def _awaited(standing: Standing) -> str:
    names = [display_name(signer) for signer in standing.missing]
    needed = standing.threshold - len(standing.have)
    if needed == len(names):
        return _listed(names, "and")
    if needed == 1:
        return _listed(names, "or")
    return f"{needed} of {_listed(names, 'and')}"


def _listed(names: list[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
