"""The command ``transfer.py``, which is also ``python -m transferpy``."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until main has installed its handlers, Ctrl-C ends the process like other signals, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from transferpy.transfer import main

if __name__ == "__main__":
    sys.exit(main())
