"""Starting the daemon: what a person reads when it cannot start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pearrt.daemon.client import Client
from pearrt.errors import Unreachable
from pearrt.paths import Home


def test_a_daemon_that_cannot_start_says_why_and_what_to_do(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.config_file.write_text("idle_exit = 3\n")
    with pytest.raises(
        Unreachable, match=r"does not start. There is no setting .* called idle_exit"
    ) as caught:
        Client(home, environ={**os.environ, "PEARRT_HOME": str(tmp_path)}).start()
    assert caught.value.hint == "Did you mean idle_exit_s?"
