"""JSON Schema of protocol files and overlays, for editors: made from the models that read them."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from tailort.protocols.overlay_file import OverlayFile
from tailort.protocols.schema import ProtocolFile

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema of protocol files, and of overlays where the file has `extends`; Draft 2020-12.

    Notes
    -----
    It knows the keys, their types and ranges. What only shows when sections are compared is told by `tailort protocols
    FILE`.
    """
    refs, definitions = models_json_schema(
        [(ProtocolFile, "validation"), (OverlayFile, "validation")],
        by_alias=True,
        title="TailoRT protocol",
        description="A protocol file of TailoRT, or a site's overlay of one.",
    )
    return {
        "$schema": DRAFT,
        "title": definitions["title"],
        "description": definitions["description"],
        "type": "object",
        "if": {"required": ["extends"]},
        "then": refs[OverlayFile, "validation"],
        "else": refs[ProtocolFile, "validation"],
        "$defs": definitions["$defs"],
    }
