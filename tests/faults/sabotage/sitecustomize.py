"""Loaded by Python itself at the start of a service under test: changes it from inside, never by a flag of its own.

A service that could not be changed as asked does not start: an unchanged one would pass for a changed one.
"""

import importlib
import os
import sys
import traceback

try:
    for _name in os.environ.get("SABOTAGE_MODULES", "").split(","):
        if _name:
            importlib.import_module(_name)
except BaseException:  # noqa: BLE001 - Python itself would print it and start the service all the same
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(70)
