"""Who may say what is current: a verifier for a profile of The Update Framework 1.0.34. Standard library
only, no I/O.
"""
