"""What is published fits into what peers and mirrors are asked for and answer with."""

from __future__ import annotations

from pearrt.errors import UserError
from pearrt.trust.metadata_set import MAX_CURRENT_BYTES, MetadataSet
from pearrt.trust.root_steps import MAX_ANSWERS, answers_needed


def check_servable(metadata: MetadataSet) -> None:
    """Raises UserError where nobody could be given the whole set."""
    if (size := metadata.current_bytes) > MAX_CURRENT_BYTES:
        raise UserError(
            f"What the app's signers say has {size} bytes in all, more than the {MAX_CURRENT_BYTES}"
            " that peers can be given.",
            hint="Shorten the notes of releases, or take back channels with signers of their own.",
        )
    if (count := answers_needed(metadata)) > MAX_ANSWERS:
        raise UserError(
            f"The app's {len(metadata.roots)} roots would take a peer {count} answers; at most {MAX_ANSWERS}"
            " are asked for.",
            hint="Its signers changed too often for one app: begin a new one.",
        )
