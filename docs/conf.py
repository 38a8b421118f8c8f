"""Configuration of Sphinx, for Sphinx 5.3 of Debian 12 and newer versions; `make docs` builds the manual."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE.parent), str(_HERE / "_ext")]  # document this checkout, not an installed package

from transferpy import __version__  # noqa: E402  # as above

project = "transferpy"
author = "the transferpy developers"
copyright = author  # noqa: A001  # the name that Sphinx reads
version = release = __version__

extensions = ["program"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # smart quotes would replace the two hyphens of an option with a dash
highlight_language = "none"
today_fmt = "%Y-%m-%d"

html_theme = "alabaster"
html_theme_options = {"description": "Verified copies between hosts", "page_width": "1100px"}
html_copy_source = False

man_pages = [("command", "transfer.py", "copy files, trees and MariaDB data between the hosts of a fleet", author, 1)]
