"""What is said of a fault in a protocol file."""

from __future__ import annotations

import pytest

from tailort.errors import ProtocolError
from tailort.protocols import parse


def told_of(text: str, old: str, new: str) -> str:
    """Put a fault into the text of a protocol file, and return the one line that it is refused with."""
    assert old in text
    with pytest.raises(ProtocolError) as caught:
        parse(text.replace(old, new, 1), "own.yaml")
    told = str(caught.value)
    assert told.startswith("own.yaml")
    assert "\n" not in told
    return told
