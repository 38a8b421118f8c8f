"""Coverage of the tests: branches of the Python package, and lines of the scripts that run on hosts.

Three environment variables start the measurement; ``pytest --coverage`` sets them. The package has no code for it.

* ``COVERAGE_PROCESS_START`` and ``COVERAGE_FILE`` start coverage.py in each Python process of ``.venv``. Hosts of a lab
  have an environment of their own: ``sitecustomize.py`` sets the variables on the orchestration host.
* ``BASH_ENV`` names ``trace.sh``, with which bash writes a trace of each script for a host. The environment of
  a script has no variable of the tests: ``tests/conftest.py`` adds it, and in a lab ``/usr/sbin/bash`` does.
"""
