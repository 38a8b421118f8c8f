"""The benchmark: the cost of transfers in the lab, compared with other tools."""

import sys
from pathlib import Path

# Like pytest, this makes the packages next to this one importable, for example the lab.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
