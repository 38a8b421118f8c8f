"""Run the command line tool: ``python -m transferpy``, and the command ``transfer.py``."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until main has handlers of its own, Ctrl-C ends it as other signals do, and shows nobody where Python was.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from transferpy.transfer import main

if __name__ == "__main__":
    sys.exit(main())
