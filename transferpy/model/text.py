"""Text for people: sizes, durations, and text from hosts that is made safe for logs and terminals."""

from collections.abc import Iterable


def size(number: float) -> str:
    """Return a number of bytes as text."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:  # noqa: PLR2004 # a larger number would be rounded to 1000
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def duration(seconds: float) -> str:
    """Return a number of seconds as text: with one decimal below 100 seconds, else as hours, minutes and seconds."""
    if seconds < 100:  # noqa: PLR2004 # the limit in the docstring
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def listed(numbers: Iterable[int]) -> str:
    """Return numbers as text, with commas in between."""
    return ", ".join(map(str, numbers))


def printable(text: str) -> str:
    """Return a text with a Python escape for each character that is not printable."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Return the lines of a program's output as one line, without blank lines and lines of dashes."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip(" -"))
