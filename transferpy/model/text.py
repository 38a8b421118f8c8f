"""Text from hosts, made safe for logs and terminals."""


def printable(text: str) -> str:
    """Return a text with a Python escape for each character that is not printable."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Return the lines of a program's output as one line, without blank lines and lines of dashes."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip(" -"))
