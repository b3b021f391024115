"""`pearrt run` for the demo's own app on a machine that offers no sandbox at all. Never used for anything
else."""

from __future__ import annotations

import os
import sys

from pearrt.app.progress import silent
from pearrt.app.run import Person, run
from pearrt.cli.options import open_daemon
from pearrt.errors import Denied, PearrtError
from pearrt.link import Link

ONLY_APP = "PEARRT_DEMO_APP"  # the link of the app that the demo made itself, in this very run


def main() -> int:
    """`uncontained run --yes LINK`, for the one link that the demo made itself."""
    from pearrt.sandbox.service import run_unsandboxed

    link = Link.parse(sys.argv[-1])
    try:
        if os.environ.get(ONLY_APP) != str(link):
            raise Denied("Only the demo's own app runs outside the sandbox.")
        return run(
            link, open_daemon(), (), person=Person(approve=lambda _: ()), report=silent, start=run_unsandboxed
        )
    except PearrtError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return e.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
