"""Bash scripts as one line of shell."""

import base64
import gzip
import os
import shlex


def pack_script(script: str, *arguments: str) -> str:
    """Return one line of shell that runs ``script`` in bash; every login shell parses it in the same way.

    The script is compressed and base64-encoded. So a login shell other than bash, the replacement of ``%h`` by
    ClusterShell and names that are not UTF-8 cannot change it. The shell process becomes the bash process (``exec``).
    ``arguments`` are the positional parameters of the script and stay readable in the list of processes.

    Raises:
        ValueError: an argument contains a character that a shell or ClusterShell interprets.
    """
    for argument in arguments:
        if shlex.quote(argument) != argument or "%" in argument:
            raise ValueError(f"not a plain word: {argument!r}")
    packed = base64.b64encode(gzip.compress(os.fsencode(script), mtime=0)).decode("ascii")
    words = " ".join(("transferpy", *arguments))
    return f"exec bash -c 'eval \"$(base64 -d <<<{packed} | gzip -d)\"' {words}"
