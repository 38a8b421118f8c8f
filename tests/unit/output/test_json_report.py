"""The JSON document of a report, and the report of a JSON document."""

from dataclasses import replace

import pytest
from reports import GOOD, REPORT, assert_valid

from transferpy.output.json_report import from_json


def test_a_path_that_is_not_valid_text_gives_a_valid_document() -> None:
    place = replace(GOOD.target, path="/srv/\udcff\n")
    assert_valid(replace(REPORT, source=place, targets=(replace(GOOD, target=place),)))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"transfers": []}', '{"transfers": [{}]}', '{"transfers": [1]}'])
def test_another_document_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
