"""Python runs this at its start when this folder is on PYTHONPATH: processes that tests start guard
themselves."""

import os
import sys

support = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, support)
try:
    import guard
finally:
    sys.path.remove(support)
del sys.modules["guard"]

guard.install()
