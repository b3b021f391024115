"""Channels with signers of their own: given, used, handed over, taken back; promotion between channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import (
    BadSignature,
    Equivocation,
    Expired,
    Rollback,
    ThresholdNotMet,
    TrustError,
    UserError,
)
from pearrt.publish.app import OFFLINE_LIFETIME_S
from pearrt.publish.channel import delegate_channel, promote, take_channel_back
from pearrt.publish.draft import combine
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import Publication
from pearrt.publish.release import Variant, make_releases, targets_draft
from pearrt.publish.rotation import rotate
from pearrt.publish.withdraw import revoke
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.revocation import Action
from tests.unit.publish.conftest import DAY, NOW, Team, commit_rotation, draft_of, public_of, seed_of, signed

BETA = ("fay", "gus", "hal")


def released(publication: Publication, version: str, *names: str, **fields: Any) -> Publication:
    draft = draft_of(publication.trusted, version, **fields)
    return publication.commit(draft, signed(draft, *(names or ("ada", "bob", "cyd"))), NOW)


def given(publication: Publication, names: tuple[str, ...] = BETA, threshold: int = 2) -> Publication:
    change = delegate_channel(
        publication.trusted, "beta", [public_of(name) for name in names], threshold, now=NOW
    )
    blobs = {
        "targets": combine(change.targets, signed(change.targets, "ada", "bob", "cyd")),
        "beta": combine(change.channel, signed(change.channel, *names[:threshold])),
    }
    return publication.commit_signed([change.targets, change.channel], blobs, NOW)


@pytest.fixture
def beta(publication: Publication) -> Publication:
    return given(released(released(publication, "1.0"), "1.1b", channel="beta"))


def version(trusted: TrustedApp, channel: str = "stable") -> str | None:
    release = trusted.release(channel)
    return release and release.version


def test_a_channel_is_released_by_its_own_signers_and_by_nobody_else(beta: Publication) -> None:
    client = TrustedApp.first(beta.app_key, beta.metadata, NOW)
    assert (version(client), version(client, "beta")) == ("1.0", "1.1b")
    draft = draft_of(beta.trusted, "2.0b", channel="beta")
    with pytest.raises(BadSignature):
        signed(draft, "ada")
    with pytest.raises(ThresholdNotMet, match="Beta"):
        combine(draft, signed(draft, "fay"))
    after = beta.commit(draft, signed(draft, "gus", "hal"), NOW)
    client = client.update(after.metadata, NOW)
    assert (version(client), version(client, "beta")) == ("1.0", "2.0b")
    assert {signer.name for signer in client.signed_by_of("beta")} == {"gus", "hal"}
    assert {signer.name for signer in client.signed_by} == {"ada", "bob", "cyd"}
    assert client.metadata.targets == beta.metadata.targets
    assert TrustedApp.restore(beta.app_key, client.state()) == client
    assert MetadataSet.decode(client.metadata.encode()) == client.metadata


def test_the_apps_signers_release_on_without_the_channels(beta: Publication) -> None:
    after = released(beta, "1.1")
    assert (version(after.trusted), version(after.trusted, "beta")) == ("1.1", "1.1b")
    assert after.metadata.delegated == beta.metadata.delegated
    assert after.refresh(NOW + DAY).metadata.snapshot == after.metadata.snapshot


def test_a_release_is_promoted_without_another_upload(beta: Publication) -> None:
    beta = released(beta, "2.0", "fay", "gus", channel="beta", platform="linux-x86_64")
    draft = promote(beta.trusted, "beta", "stable", now=NOW)
    after = beta.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW).trusted
    for platform in ("any", "linux-x86_64"):
        stable, tried = after.release("stable", (platform,)), after.release("beta", (platform,))
        assert stable is not None
        assert tried is not None
        assert stable.index_digest == tried.index_digest
        assert stable.index_blocks == tried.index_blocks
    back = promote(beta.trusted, "stable", "beta", now=NOW)
    assert back.role == "beta"
    for source, target in (("nightly", "stable"), ("beta", "beta")):
        with pytest.raises(UserError, match="no release"):
            promote(beta.trusted, source, target, now=NOW)


def test_a_channel_is_handed_over_and_its_former_signers_have_no_say(beta: Publication) -> None:
    client = TrustedApp.first(beta.app_key, beta.metadata, NOW)
    late = draft_of(beta.trusted, "6.6.6", channel="beta")
    after = given(beta, ("ida", "jon"), 1)
    client = client.update(after.metadata, NOW)
    assert version(client, "beta") == "1.1b"
    with pytest.raises((UserError, ThresholdNotMet)):
        after.commit(late, signed(late, "fay", "gus"), NOW)
    assert (
        version(client.update(released(after, "3.0b", "ida", channel="beta").metadata, NOW), "beta") == "3.0b"
    )


def test_a_channel_comes_back_to_the_apps_signers_with_its_releases_or_without(beta: Publication) -> None:
    client = TrustedApp.first(beta.app_key, beta.metadata, NOW)
    trusted = beta.trusted
    back = take_channel_back(trusted, "beta", now=NOW)
    emptied = targets_draft(trusted, trusted.targets.releases, NOW, delegations=[])
    for draft, left in ((back, "1.1b"), (emptied, None)):
        metadata = beta.heartbeat.beat(
            beta.metadata.roots, combine(draft, signed(draft, "ada", "bob", "cyd")), NOW, beta.metadata
        )
        after = client.update(metadata, NOW)
        assert version(after, "beta") == left
        assert after.metadata.delegated == {}
        assert "beta.json" in after.snapshot.files
    with pytest.raises(UserError, match="no signers of its own"):
        take_channel_back(after, "beta", now=NOW)


def test_a_channel_that_comes_again_goes_on_above_its_last_life(beta: Publication) -> None:
    client = TrustedApp.first(beta.app_key, beta.metadata, NOW)
    for number in range(4):
        beta = released(beta, f"{number}", "fay", "gus", channel="beta")
    before = beta.trusted.channels["beta"].version
    draft = take_channel_back(beta.trusted, "beta", now=NOW)
    again = given(beta.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW))
    assert again.trusted.channels["beta"].version > before
    assert version(client.update(again.metadata, NOW), "beta") == "3"


def test_a_rotation_keeps_the_channel_and_its_signers(beta: Publication) -> None:
    rotation = rotate(
        beta.trusted,
        [public_of("dan"), public_of("eve")],
        2,
        heartbeat=beta.trusted.root.authorities["timestamp"].signers.copy().popitem()[1].public,
        now=NOW,
    )
    roots = signed(rotation.root, "ada", "bob", "cyd", "dan", "eve")
    after = commit_rotation(beta, rotation, roots, signed(rotation.targets, "dan", "eve"))
    client = TrustedApp.first(beta.app_key, beta.metadata, NOW).update(after.metadata, NOW)
    assert (version(client), version(client, "beta")) == ("1.0", "1.1b")
    assert version(released(after, "2b", "fay", "hal", channel="beta").trusted, "beta") == "2b"


def test_fast_forward_of_a_channel_is_undone_by_rotating_its_signers_and_the_heartbeat(
    beta: Publication, team: Team
) -> None:
    thief = draft_of(beta.trusted, "6.6.6", channel="beta")
    pushed = thief.payload.replace(
        b'"version":%d,"x-pearrt-app"' % thief.version, b'"version":9007199254740990,"x-pearrt-app"'
    )
    assert pushed != thief.payload
    stolen = replace(thief, payload=pushed, version=9007199254740990)
    metadata = beta.heartbeat.beat(
        beta.metadata.roots,
        beta.metadata.targets,
        NOW + 1,
        beta.metadata,
        delegated={"beta": combine(stolen, signed(stolen, "fay", "gus"))},
    )
    victim = TrustedApp.first(beta.app_key, metadata, NOW)
    healed = given(beta, ("ida", "jon"), 1)
    with pytest.raises((Rollback, Equivocation)):
        victim.update(healed.refresh(NOW + DAY).metadata, NOW)
    other = Heartbeat(seed_of("another heartbeat"))
    signers = [public_of(name) for name in ("ada", "bob", "cyd", "dan", "eve")]
    rotation = rotate(healed.trusted, signers, 3, heartbeat=public_of("another heartbeat").key, now=NOW)
    three = ("ada", "bob", "cyd")
    after = commit_rotation(
        healed, rotation, signed(rotation.root, *three), signed(rotation.targets, *three), heartbeat=other
    )
    assert version(victim.update(after.metadata, NOW), "beta") == "1.1b"


def test_a_channel_that_expired_is_stale_alone(beta: Publication) -> None:
    draft = draft_of(beta.trusted, "2b", NOW + DAY - OFFLINE_LIFETIME_S, channel="beta")
    after = beta.commit(draft, signed(draft, "fay", "gus"), NOW)
    client = TrustedApp.first(after.app_key, after.metadata, NOW + 2 * DAY)
    client.check_expiry(NOW + 2 * DAY)
    with pytest.raises(Expired, match="beta"):
        client.check_expiry(NOW + 2 * DAY, "beta")
    assert client.freshness(NOW + 2 * DAY).state.value == "fresh"
    assert client.freshness(NOW + 2 * DAY, "beta").state.value == "stale"


def test_the_channels_signers_revoke_nothing_and_the_apps_signers_anything(beta: Publication) -> None:
    release = beta.trusted.release("beta")
    assert release is not None
    draft = revoke(beta.trusted, [release.index_digest], Action.STOP, "It loses data.", now=NOW)
    assert draft.role == "targets"
    after = beta.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW).trusted
    found = after.revoked(release.index_digest)
    assert found is not None
    assert version(after, "beta") == "1.1b"
    with pytest.raises(UserError, match="revoked"):
        promote(after, "beta", "stable", now=NOW)


def test_all_variants_of_a_release_appear_together(beta: Publication) -> None:
    variants = [
        Variant(platform, sha256(platform.encode()), 100, (sha256(b"block"),))
        for platform in ("linux-x86_64-cp311", "linux-x86_64", "any")
    ]
    draft = make_releases(beta.trusted, variants, name="Ledger", version="5b", now=NOW, channel="beta")
    after = beta.commit(draft, signed(draft, "fay", "gus"), NOW).trusted
    tags = ("linux-x86_64-cp311", "linux-x86_64", "any")
    for first in range(3):
        found = after.release("beta", tags[first:])
        assert found is not None
        assert found.index_digest == sha256(tags[first].encode())
    assert after.release("beta", ("linux-aarch64",)) is None
    with pytest.raises(UserError, match="variant"):
        make_releases(beta.trusted, variants[:1] * 2, name="Ledger", version="6", now=NOW)


@pytest.mark.parametrize(
    ("name", "signers", "threshold"),
    [
        ("root", BETA, 2),
        ("Beta", BETA, 2),
        ("be/ta", BETA, 2),
        ("beta", BETA, 0),
        ("beta", BETA, 4),
        ("beta", ("fay", "fay"), 1),
        ("beta", ("fay", "heartbeat"), 1),
        ("beta", (), 1),
    ],
)
def test_a_channel_that_could_not_stand_is_not_drafted(
    publication: Publication, name: str, signers: tuple[str, ...], threshold: int
) -> None:
    with pytest.raises(UserError):
        delegate_channel(publication.trusted, name, [public_of(each) for each in signers], threshold, now=NOW)


def test_half_a_handover_is_not_published(beta: Publication) -> None:
    change = delegate_channel(beta.trusted, "beta", [public_of("ida")], 1, now=NOW)
    blob = combine(change.targets, signed(change.targets, "ada", "bob", "cyd"))
    with pytest.raises(TrustError):
        beta.commit_signed([change.targets], {"targets": blob}, NOW)
    assert Publication.open(beta.folder).metadata == beta.metadata
