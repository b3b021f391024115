"""The bootstrapper: one small file of standard library Python that brings pearrt onto a machine and then
hands over to it.

    what it carries -> discovery -> sources -> trusted release -> blocks -> unpack -> switch -> pearrt

`install.py` reads like that line. Everything that decides what is right (links, DHT, trust, index, unpacking,
store, which version runs) is pearrt's own core, the very same modules: there is no second verifier.
"""
