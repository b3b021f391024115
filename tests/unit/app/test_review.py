"""A review believes no request: bundles are computed again, and what differs is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pearrt.app.drafting import Terms, draft_release, draft_return, draft_revocation
from pearrt.app.review import examine, open_source, recompute, text_diff
from pearrt.app.stage import _stage
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.pear_file import write_pear
from pearrt.cli.release import review
from pearrt.crypto import ed25519
from pearrt.errors import DigestMismatch, StoreError, UserError
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.publish.changes import release_changes
from pearrt.publish.channel import delegate_channel
from pearrt.publish.desk import Desk
from pearrt.publish.fingerprint import fingerprint
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.request import Request
from pearrt.store.service import Store
from pearrt.trust.app import TrustedApp
from pearrt.trust.revocation import Action, Revocation
from tests.support.team import write_app
from tests.unit.publish.ceremony import signed_request
from tests.unit.publish.conftest import NOW, Team, public_of, seed_of

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e"


class Publisher:
    """A home with a store, an app, and versions that were staged."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.publication = Team(Heartbeat(seed_of("heartbeat"))).publication(home.publishing)

    def stage(
        self, version: str, text: str, permissions: dict[str, object] | None = None, **files: bytes
    ) -> str:
        tree = write_app(self.folder / version, text, **files)
        (tree / "pyproject.toml").unlink()
        manifest = Manifest(
            name="hello", version=version, entry=Entry.parse("hello:main"), permissions=permissions or {}
        )
        with Store(self.home.store) as store:
            digest: str = _stage(tree, manifest, store, self.home, lambda _: None)["digest"]
        return digest

    def request(self, *bundles: str, **terms: object) -> Request:
        trusted = self.publication.trusted
        return Request.of(trusted, draft_release(trusted, self.home, bundles, Terms(**terms), NOW))  # type: ignore[arg-type]

    def release(self, request: Request, *signers: str) -> None:
        from pearrt.publish.commit import commit

        desk = Desk.of(self.home.ceremonies, request.app_key)
        signed = signed_request(request, *(signers or ("ada", "bob", "cyd")))
        made = commit(signed, self.home.publishing, desk, NOW)
        assert made is not None
        desk.finish(request)
        self.publication = made


@pytest.fixture
def publisher(home: Home, tmp_path: Path) -> Publisher:
    home.prepare()
    return Publisher(home, tmp_path)


@pytest.fixture
def reviewed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., dict[str, object]]:
    """Runs `pearrt release review --json` on a request, where everything is in this machine's store."""
    monkeypatch.setenv("PEARRT_HOME", str(publisher.home.data))

    def run(request: Request, *options: str, code: int = 0) -> dict[str, object]:
        path = tmp_path / "a.request"
        path.write_bytes(request.encode())
        done = CliRunner().invoke(review.command, [str(path), "--json", *options])
        assert done.exit_code == code, done.output
        envelope = json.loads(done.stdout)
        answer: dict[str, object] = envelope["result" if code == 0 else "error"]
        return answer

    return run


def test_files_permissions_and_versions_are_told_apart(
    publisher: Publisher, reviewed: Callable[..., dict[str, object]]
) -> None:
    publisher.release(publisher.request(publisher.stage("1.0", "one", gone=b"x", same=b"y")))
    digest = publisher.stage("2.0", "two", {"memory": "4 GiB"}, same=b"y", new=b"z")
    request = publisher.request(digest, notes="Better", security=True)
    found = reviewed(request, "--diff", "hello.py")
    (release,) = found["releases"]  # type: ignore[misc]
    assert release["files"] == {"added": ["new"], "changed": ["hello.py"], "removed": ["gone"]}
    assert (release["before"], release["after"], release["notes"]) == ("1.0", "2.0", "Better")
    assert release["wider"] == ["use up to 4 GiB of memory"]
    assert release["security"]
    assert found["fingerprint"] == fingerprint(request.digest)
    diff = found["diffs"]["hello.py"]  # type: ignore[index]
    assert "-    print('one', *sys.argv[1:], flush=True)" in diff
    assert Desk.of(publisher.home.ceremonies, request.app_key).review_of(request) == found["fingerprint"]


def test_a_request_whose_index_differs_from_the_bundle_is_not_reviewed(
    publisher: Publisher, reviewed: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    """The sources at hand give another bundle than the one that the request names."""
    request = publisher.request(publisher.stage("1.0", "one"))
    mine = write_app(tmp_path / "mine", "not what they staged")
    error = reviewed(request, "--bundle", str(mine), code=DigestMismatch.exit_code)
    assert error["code"] == "digest-mismatch"
    assert Desk.of(publisher.home.ceremonies, request.app_key).review_of(request) is None


def test_sources_that_give_the_bundle_are_enough(
    publisher: Publisher, reviewed: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    from pearrt.publish.stage import from_project

    source = write_app(tmp_path / "source", "one")
    with from_project(source) as prepared, Store(publisher.home.store) as store:
        digest = _stage(prepared.folder, prepared.manifest, store, publisher.home, lambda _: None)["digest"]
    found = reviewed(publisher.request(digest), "--bundle", str(source))
    assert found["releases"][0]["source"] == str(source)  # type: ignore[index]


def test_a_pear_file_is_enough(
    publisher: Publisher, reviewed: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    request = publisher.request(publisher.stage("1.0", "one"))
    file = tmp_path / "candidate.pear"
    with Store(publisher.home.store) as store:
        (change,) = release_changes(request)
        assert change.bundle is not None
        ids = list(change.bundle.index_blocks)
        index = Index.parse(b"".join(store.get(block_id) for block_id in ids))
        ids += [block.id for block in index.blocks]
        blocks = sorted((block_id, store.get(block_id)) for block_id in dict.fromkeys(ids))
    metadata = {request.app_key: publisher.publication.metadata.encode()}
    write_pear(file, [str(Link(request.app_key))], metadata, blocks)
    found = reviewed(request, "--bundle", str(file))
    assert found["releases"][0]["source"] == str(file)  # type: ignore[index]


def test_blocks_that_are_not_the_index_that_is_named_are_refused(
    publisher: Publisher, tmp_path: Path
) -> None:
    request = publisher.request(publisher.stage("1.0", "one"))
    other = publisher.request(publisher.stage("6.6.6", "evil"))
    (mine,), (theirs,) = release_changes(request), release_changes(other)
    assert mine.bundle is not None
    assert theirs.bundle is not None
    with Store(publisher.home.store) as store:
        for lying in (
            replace(mine.bundle, index_blocks=theirs.bundle.index_blocks),
            replace(mine.bundle, index_size=mine.bundle.index_size + 1),
            replace(mine.bundle, index_digest=bytes(32)),
        ):
            with pytest.raises(DigestMismatch, match="the request names"):
                recompute(lying, store.get, tmp_path)
        with pytest.raises(StoreError):
            recompute(replace(mine.bundle, index_blocks=(bytes(32),)), store.get, tmp_path)


def test_terminal_escapes_in_notes_names_and_files_reach_no_terminal(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Notes with escapes are refused as metadata; those in a file's text are shown without them."""
    digest = publisher.stage("1.0", "one", evil=f"line {EVIL}\n".encode())
    with pytest.raises(UserError):
        publisher.request(digest, notes=EVIL)
    monkeypatch.setenv("PEARRT_HOME", str(publisher.home.data))
    path = tmp_path / "a.request"
    path.write_bytes(publisher.request(digest, notes="two\nlines").encode())
    done = CliRunner().invoke(review.command, [str(path), "--diff", "evil"])
    assert done.exit_code == 0, done.output
    assert not set(done.stdout) & set(EVIL) - set("owned0[2J]; ")
    assert "+line �" in done.stdout


def test_what_a_manifest_says_otherwise_than_the_release_is_pointed_out(
    publisher: Publisher, tmp_path: Path
) -> None:
    request = publisher.request(publisher.stage("1.0", "one"), version="9.9")
    (change,) = release_changes(request)
    assert change.bundle is not None
    with Store(publisher.home.store) as store:
        after = recompute(change.bundle, store.get, tmp_path)
    findings = examine(change, "here", after, None)
    assert findings.warnings == ["its manifest says version '1.0', the release says '9.9'"]
    for missing in ("nothing", "../../etc/passwd", ""):
        with pytest.raises(UserError, match="in neither bundle"):
            text_diff(findings, missing)


def test_a_diff_of_what_is_no_text_says_its_digest(publisher: Publisher, tmp_path: Path) -> None:
    (change,) = release_changes(publisher.request(publisher.stage("1.0", "one", binary=b"\0\xff" * 9)))
    assert change.bundle is not None
    with Store(publisher.home.store) as store:
        after = recompute(change.bundle, store.get, tmp_path)
    with pytest.raises(UserError, match="SHA-256"):
        text_diff(examine(change, "here", after, None), "binary")


def test_a_folder_that_is_no_project_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError), open_source(tmp_path / "empty", tmp_path):
        pass


def test_going_back_and_revoking_name_versions_that_were_made_here(publisher: Publisher) -> None:
    for version in ("1.0", "2.0"):
        publisher.release(publisher.request(publisher.stage(version, version)))
    trusted = publisher.publication.trusted
    draft = draft_return(trusted, publisher.home, "1.0", Terms(), now=NOW, revoking=(Action.RETURN, "bad"))
    request = Request.of(trusted, draft)
    (change,) = release_changes(request)
    assert (change.before and change.before.version, change.after and change.after.version) == ("2.0", "1.0")
    client = TrustedApp.first(trusted.app_key, trusted.metadata, NOW)
    publisher.release(request)
    after = publisher.publication.trusted
    seen, bad = client.update(after.metadata, NOW).release(), trusted.releases[0]
    assert seen is not None
    assert (seen.version, seen.sequence > bad.sequence) == ("1.0", True)
    assert after.revoked(bad.index_digest) == Revocation(bad.index_digest, Action.RETURN, "bad")
    with pytest.raises(UserError, match="revoked itself"):
        draft_return(after, publisher.home, "2.0", Terms(), now=NOW)
    draft = draft_revocation(after, publisher.home, "2.0", action=None, reason="", now=NOW)
    lifted = Request.of(after, draft)
    assert lifted.targets.revocations == ()
    publisher.release(lifted)
    assert draft_return(publisher.publication.trusted, publisher.home, "2.0", Terms(), now=NOW)
    with pytest.raises(UserError, match="is known here"):
        draft_revocation(after, publisher.home, "7.7", action=Action.WARN, reason="x", now=NOW)
    unknown = draft_revocation(after, publisher.home, "ab" * 32, action=Action.WARN, reason="x", now=NOW)
    assert len(Request.of(after, unknown).targets.revocations) == 2


def test_to_go_back_to_what_was_only_staged_here(publisher: Publisher) -> None:
    digest = publisher.stage("0.9", "zero")
    publisher.release(publisher.request(publisher.stage("1.0", "one")))
    trusted = publisher.publication.trusted
    for named in ("0.9", digest[:16]):
        publisher.release(Request.of(trusted, draft_return(trusted, publisher.home, named, Terms(), now=NOW)))
        trusted = publisher.publication.trusted
        (release,) = trusted.releases
        assert (release.version, release.index_digest.hex()) == ("0.9", digest)
    with pytest.raises(UserError, match="one line"):
        draft_return(trusted, publisher.home, "1.0", Terms(), now=NOW, revoking=(Action.RETURN, "two\nlines"))


def test_the_signers_of_a_channel_go_back_in_it_and_revoke_nothing(publisher: Publisher) -> None:
    for version in ("1.0", "2.0"):
        publisher.release(publisher.request(publisher.stage(version, version), channel="beta"))
    trusted = publisher.publication.trusted
    given = delegate_channel(trusted, "beta", [public_of("zoe")], 1, now=NOW)
    publisher.release(Request.of(trusted, given.targets, given.channel), "ada", "bob", "cyd", "zoe")
    trusted, beta = publisher.publication.trusted, Terms(channel="beta")
    draft = draft_return(trusted, publisher.home, "1.0", beta, now=NOW)
    publisher.release(Request.of(trusted, draft), "zoe")
    release = publisher.publication.trusted.release("beta")
    assert release is not None
    assert (release.version, release.sequence) == ("1.0", trusted.targets_of("beta").version + 1)
    with pytest.raises(UserError, match="cannot revoke"):
        draft_return(trusted, publisher.home, "1.0", beta, now=NOW, revoking=(Action.RETURN, "bad"))


def test_the_seed_of_a_signer_is_in_no_request(publisher: Publisher) -> None:
    data = publisher.request(publisher.stage("1.0", "one")).encode()
    for name in ("ada", "heartbeat"):
        assert seed_of(name) not in data
        assert seed_of(name).hex().encode() not in data
        assert ed25519.public_key(seed_of(name)).hex().encode() in data
