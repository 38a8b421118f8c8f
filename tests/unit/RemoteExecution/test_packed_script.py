"""One line of shell that runs a script."""

import subprocess

import pytest

from transferpy.RemoteExecution.packed_script import pack_script


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_every_login_shell_runs_the_script_in_bash_with_its_arguments(shell: str) -> None:
    line = pack_script("printf '<%s>' \"${BASH_VERSION:+bash}\" \"$0\" \"$@\" '%h' $'\\'\\xff'", "one", "two")
    result = subprocess.run([shell, "-c", line], capture_output=True, check=True)
    assert result.stdout == b"<bash><transferpy><one><two><%h><'\xff>"


@pytest.mark.parametrize("argument", ["two words", "$x", "%h", "", "a;b", "é"])
def test_an_argument_that_a_shell_or_clustershell_interprets_is_rejected(argument: str) -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        pack_script("true", argument)
