"""The benchmark: what a transfer costs in the lab, next to the same work done by hand."""

import sys
from pathlib import Path

# As pytest does for the tests: their packages, the lab among them, are found beside this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
