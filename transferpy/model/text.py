"""Text from hosts, made safe for logs and terminals."""


def printable(text: str) -> str:
    """Return a text in which everything that is no visible character is written as Python would."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Return the lines of what a program said as one, without those that are blank or ruled."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip(" -"))
