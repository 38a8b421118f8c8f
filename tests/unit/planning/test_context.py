"""The request and the facts, for checks and plan."""

import pytest
from fleet import REQUEST, RUN, answers, target_host

from transferpy.planning.context import PlanContext


def test_facts_of_a_source_host_that_did_not_answer_cannot_be_used() -> None:
    context = PlanContext(request=REQUEST, facts=answers(target_host()), source_facts=None, run_id=RUN)
    with pytest.raises(ValueError, match="did not answer"):
        _ = context.source
