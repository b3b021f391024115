"""Changes of format can be gone back from by one version, whatever was skipped or interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.errors import UserError
from pearrt.runtime import state as states
from pearrt.runtime.formats import FORMAT, MIGRATIONS, Migration, contract, expand
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.state import RuntimeState

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
LINK = "pearrt://" + "y" * 55


def writes(name: str) -> Migration:
    to = int(name)
    return Migration(
        to,
        f"form {name}",
        expand=lambda data: (data / f"new-{name}").touch(),
        contract=lambda data: (data / f"old-{name}").unlink(missing_ok=True),
    )


STEPS = (writes("2"), writes("3"))


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    """A home of format 1 in which A, of format 1, runs."""
    (tmp_path / "old-2").touch()
    (tmp_path / "old-3").touch()
    made = RuntimeFolder(tmp_path)
    made.edit(lambda _: states.install(RuntimeState(), LINK, A, "1"))
    expand(made, A, migrations=(), known=1)
    return made


def begin(folder: RuntimeFolder, digest: str, known: int) -> None:
    folder.edit(lambda state: states.begin(state, digest, digest[:1]))
    expand(folder, digest, migrations=STEPS, known=known)


def confirm(folder: RuntimeFolder, digest: str, known: int) -> None:
    folder.edit(lambda state: states.confirm(state, digest))
    contract(folder, migrations=STEPS, known=known)


def test_a_trial_expands_and_the_version_before_it_still_reads(folder: RuntimeFolder) -> None:
    begin(folder, B, 2)
    assert (folder.data / "new-2").exists()
    assert (folder.data / "old-2").exists()
    folder.edit(lambda state: states.fail(state, "it fell over"))
    expand(folder, A, migrations=(), known=1)


def test_the_old_form_stays_until_no_version_here_needs_it(folder: RuntimeFolder) -> None:
    begin(folder, B, 2)
    confirm(folder, B, 2)
    assert (folder.data / "old-2").exists(), "A, the way back, needs it"
    assert folder.read().reader == 1
    begin(folder, C, 3)
    confirm(folder, C, 3)
    assert not (folder.data / "old-2").exists()
    assert (folder.data / "old-3").exists(), "B, the way back, needs it"
    assert (folder.read().format, folder.read().reader) == (3, 2)


def test_a_version_that_skips_a_format_does_not_cut_the_way_back(folder: RuntimeFolder) -> None:
    begin(folder, C, 3)
    confirm(folder, C, 3)
    assert (folder.data / "new-2").exists()
    assert (folder.data / "old-2").exists()
    assert (folder.data / "old-3").exists()
    folder.edit(lambda state: states.roll_back(state, "by hand"))
    expand(folder, A, migrations=(), known=1)


def test_what_an_old_version_wrote_meanwhile_is_brought_up_again(folder: RuntimeFolder) -> None:
    begin(folder, B, 2)
    folder.edit(lambda state: states.fail(state, "it fell over"))
    expand(folder, A, migrations=(), known=1)
    (folder.data / "new-2").unlink()
    begin(folder, C, 2)
    assert (folder.data / "new-2").exists()


def test_a_step_that_was_interrupted_is_done_again(folder: RuntimeFolder) -> None:
    def full(data: Path) -> None:
        raise OSError("no space")

    folder.edit(lambda state: states.begin(state, B, "2"))
    with pytest.raises(OSError, match="no space"):
        expand(folder, B, migrations=(Migration(2, "form 2", expand=full),), known=2)
    assert folder.read().format == 1
    expand(folder, B, migrations=STEPS, known=2)
    assert folder.read().format == 2


def test_a_home_that_only_a_newer_version_reads_is_left_alone(folder: RuntimeFolder) -> None:
    folder.edit(lambda state: states.decode(states.encode(state).replace(b'"reader": 1', b'"reader": 9')))
    with pytest.raises(UserError, match="newer pearrt") as caught:
        expand(folder, A, migrations=STEPS, known=3)
    assert "Update pearrt" in caught.value.hint


def test_the_steps_of_this_version_lead_to_its_format() -> None:
    assert [migration.to for migration in MIGRATIONS] == list(range(2, FORMAT + 1))
