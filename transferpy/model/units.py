"""Sizes and durations as text for people."""


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
