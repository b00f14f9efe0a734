"""A file that was cut or damaged is refused by its name; it never ends in another kind of error."""

from __future__ import annotations

import warnings
from contextlib import suppress

import dicom_cases as d
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailort.dicom import read_case
from tailort.errors import TailortError

KINDS = ("CT", "RTSTRUCT", "RTPLAN", "RTDOSE")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole case, and one file of each kind with its bytes."""
    folder = tmp_path_factory.mktemp("whole")
    rois = d.structure_set([("PTV50", "PTV", d.closed(-1.5, 1.5)), ("Heart", "ORGAN", d.closed(0.0))])
    d.write(folder, *d.image_slices(), rois, d.plan(), d.dose())
    files = {kind: sorted(folder.rglob(f"{kind}*.dcm"))[0] for kind in KINDS}
    assert read_case(folder).notes == ()
    return folder, {kind: (path, path.read_bytes()) for kind, path in files.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_a_file_is_cut_it_is_refused_by_name(whole, kind):
    folder, files = whole
    path, data = files[kind]
    try:
        for keep in range(1, len(data), len(data) // 40):
            path.write_bytes(data[:keep])
            with pytest.raises(TailortError) as caught:
                read_case(folder)
            assert path.name in str(caught.value)
            assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(data)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(132, 1600), st.integers(0, 255)), min_size=1, max_size=6))
def test_wrong_bytes_never_end_in_another_kind_of_error(whole, kind, changes):
    folder, files = whole
    path, data = files[kind]
    damaged = bytearray(data)
    for at, value in changes:
        damaged[min(at, len(data) - 1)] = value
    path.write_bytes(damaged)
    try:
        with warnings.catch_warnings(), suppress(TailortError):
            warnings.simplefilter("ignore")
            read_case(folder)
    finally:
        path.write_bytes(data)
