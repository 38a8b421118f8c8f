"""Configuration of Sphinx; `make docs` builds the manual. Works with Debian 12's Sphinx 5.3 and newer ones."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE.parent), str(_HERE / "_ext")]  # what is documented is this checkout, installed or not

from transferpy import __version__  # noqa: E402  # as above

project = "transferpy"
author = "the transferpy developers"
copyright = author  # noqa: A001  # Sphinx calls it that
version = release = __version__

extensions = ["program"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # they would make dashes of the two that an option begins with
highlight_language = "none"
today_fmt = "%Y-%m-%d"

html_theme = "alabaster"
html_theme_options = {"description": "Copies between hosts, checked at the end", "page_width": "1100px"}
html_copy_source = False

man_pages = [("command", "transfer.py", "copy files, trees and MariaDB data between the hosts of a fleet", author, 1)]
