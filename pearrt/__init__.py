"""pearrt: run apps by cryptographic key, peer to peer."""

__version__ = "0.1.0"
