"""``python -m metering.box``: the gateway where the ``wattloom`` command is not installed."""

import sys

from metering.box.main import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m metering.box"))
