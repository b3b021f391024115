"""Who may say what is current: a verifier for a profile of The Update Framework 1.0.34. Standard library
only, no I/O.
"""

from pearrt.trust.app import TrustedApp, Verdict
from pearrt.trust.freshness import Freshness, FreshnessState
from pearrt.trust.metadata import Signer
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.release import Release
from pearrt.trust.revocation import Action, Revocation
from pearrt.trust.rollout import RolloutStep

__all__ = [
    "Action",
    "Freshness",
    "FreshnessState",
    "MetadataSet",
    "Release",
    "Revocation",
    "RolloutStep",
    "Signer",
    "TrustedApp",
    "Verdict",
]
