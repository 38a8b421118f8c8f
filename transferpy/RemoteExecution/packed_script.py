"""One line of shell that runs a packed script."""

import base64
import gzip
import os
import shlex


def pack_script(script: str, *arguments: str) -> str:
    """Return one line of shell that runs ``script`` in bash, whatever shell parses that line.

    The script travels compressed and in base64: a login shell that is not bash, the replacement of ``%h`` by
    ClusterShell and names that are not UTF-8 cannot change it. ``arguments`` stay readable in the process list; they
    must be plain words.

    Raises:
        ValueError: an argument is not a plain word.
    """
    for argument in arguments:
        if shlex.quote(argument) != argument or "%" in argument:
            raise ValueError(f"not a plain word: {argument!r}")
    packed = base64.b64encode(gzip.compress(os.fsencode(script), mtime=0)).decode("ascii")
    words = " ".join(("transferpy", *arguments))
    return f"exec bash -c 'eval \"$(base64 -d <<<{packed} | gzip -d)\"' {words}"
