"""The grammar of metrics on outcomes: what it reads it prints, and what it does not read it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.patient import Metric

ids = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True)


@given(st.sampled_from(["NTCP", "TCP", "ERR"]), ids)
def test_an_outcome_is_printed_as_it_is_read(kind: str, model: str) -> None:
    text = f"{kind}({model})[%]"
    metric = Metric.parse(text)
    assert str(metric) == text
    assert (metric.kind, metric.model, metric.unit) == (kind, model, "%")
    assert metric.is_outcome
    assert not metric.is_dose
    assert Metric.parse(f" {kind} ( {model} ) [%] ") == metric


@pytest.mark.parametrize("text", ["Mean[Gy]", "D95%[Gy]", "V20Gy[%]", "Volume[cc]"])
def test_other_metrics_are_no_outcomes(text: str) -> None:
    assert not Metric.parse(text).is_outcome
    assert str(Metric.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "NTCP[%]",
        "NTCP()[%]",
        "NTCP(lung-quantec)",
        "NTCP(lung-quantec)[Gy]",
        "NTCP(Lung)[%]",
        "NTCP(-lung)[%]",
        "ntcp(lung)[%]",
    ],
)
def test_an_outcome_without_a_set_or_in_another_unit_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="of a named set of parameters"):
        Metric.parse(text)
