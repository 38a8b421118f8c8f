"""The words that options accept, from the rows of a table."""

from transferpy.model.tables import AUTO, RowNames


def test_a_row_that_is_added_to_the_table_is_a_word_at_once() -> None:
    table = {"zstd": 1}
    words = RowNames((AUTO,), table, ("none",))
    assert (list(words), len(words), "lz4" in words) == (["auto", "zstd", "none"], 3, False)
    table["lz4"] = 2
    assert (list(words), len(words), "lz4" in words) == (["auto", "zstd", "lz4", "none"], 4, True)
