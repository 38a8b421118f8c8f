#!/usr/bin/env bash
# Makes the virtual environment .venv, and makes it anew when what it was made from has changed.
#
# It has the tools of requirements-dev.txt and the command transfer.py, which runs what stands in this checkout.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

python=/usr/bin/python3 # of Debian, with which the project is to run; not whichever comes first in PATH
made_from() {
  { pwd -P && "$python" --version && cat -- requirements-dev.txt setup.cfg; } | sha256sum
}

fail() { # LINE ...
  printf 'venv: %s\n' "$@" >&2
  exit 1
}

[ -x "$python" ] || fail "there is no $python: apt-get install python3-venv"
exec {lock}<requirements-dev.txt
flock "$lock"
[ "$(cat .venv/made-from 2>/dev/null)" != "$(made_from)" ] || exit 0

echo 'venv: making .venv'
# Not from the configuration of whoever called, but as on a machine where nothing is set up.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_REQUIRE_VIRTUALENV PIP_USER PIP_TARGET PIP_PREFIX
"$python" -m venv --clear .venv || fail 'Debian has the venv module in a package of its own: apt-get install python3-venv'
pip=(.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --root-user-action=ignore --use-pep517)
"${pip[@]}" --requirement requirements-dev.txt ||
  fail 'could not install the packages of requirements-dev.txt (see above); is this machine online and does pip reach PyPI?'
"${pip[@]}" --no-deps --no-build-isolation --editable . || fail 'could not install transferpy itself (see above)'
made_from >.venv/made-from
