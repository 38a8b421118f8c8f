"""Run the command line tool: ``python -m transferpy``."""

import sys

from transferpy.transfer import main

if __name__ == "__main__":
    sys.exit(main())
