#!/usr/bin/env bash
# Creates the virtual environment .venv, and creates it again if its inputs have changed.
#
# .venv contains the tools of requirements-dev.txt and the command transfer.py, which runs the code of this checkout.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

python=/usr/bin/python3 # the Python of Debian, not the first one in PATH
made_from() {
  { pwd -P && "$python" --version && cat -- requirements-dev.txt setup.cfg; } | sha256sum
}

fail() { # LINE ...
  printf 'venv: %s\n' "$@" >&2
  exit 1
}

[ -x "$python" ] || fail "$python is missing: run apt-get install python3-venv"
exec {lock}<requirements-dev.txt
flock "$lock"
[ "$(cat .venv/made-from 2>/dev/null)" != "$(made_from)" ] || exit 0

echo 'venv: making .venv'
# The configuration of the caller must not change the result.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_REQUIRE_VIRTUALENV PIP_USER PIP_TARGET PIP_PREFIX
"$python" -m venv --clear .venv || fail 'could not create .venv (see above): run apt-get install python3-venv'
pip=(.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --root-user-action=ignore --use-pep517)
"${pip[@]}" --requirement requirements-dev.txt ||
  fail 'could not install the packages of requirements-dev.txt (see above); check that pip can reach PyPI'
"${pip[@]}" --no-deps --no-build-isolation --editable . || fail 'could not install transferpy itself (see above)'
made_from >.venv/made-from
