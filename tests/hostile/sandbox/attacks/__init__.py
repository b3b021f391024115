"""The attacks: what a hostile app tries. Standard library only; runs outside and inside alike.

`start.py TARGETS.json` tries them all, each in a forked child, and prints one JSON line per attack: {"name",
"gained"} or {"name", "refused"}. No attack does lasting harm where it succeeds. As an app the package lies at
the root of the bundle, hence its imports.
"""
