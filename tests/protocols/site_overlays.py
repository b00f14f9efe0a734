"""A small protocol and the head of a site's overlay of it."""

from __future__ import annotations

from pathlib import Path

from tailort.protocols import Protocol, load

BASE = """\
id: base
version: "3"
title: A protocol
rules:
  - {id: B-1, text: Cord., source: A paper, mark: seed}
  - {id: B-2, text: Heart., source: A paper, mark: seed}
  - id: B-3
    text: Fit.
    source: A paper
    mark: ambiguous
    reading: {default: KPS of 70 or more, other: KPS above 70}
  - id: B-4
    text: Lungs.
    source: A paper
    mark: ambiguous
    reading: {default: a limit, other: reported}
  - {id: B-5, text: Margin., source: A paper, mark: seed}
facts:
  - {name: kps, type: integer, range: [0, 100], step: 10}
readings:
  - {rule: B-3, default: from, names: {from: KPS of 70 or more, above: KPS above 70}}
  - {rule: B-4, default: limit, names: {limit: a limit, report: reported}}
eligibility:
  reading: B-3
  cases:
    - {taken: from, when: {fact: kps, operator: ">=", value: 70}}
    - {taken: above, when: {fact: kps, operator: ">", value: 70}}
targets:
  - {name: PTV1, role: PTV, of: [GTV], then: [{expand: {mm: 5}}, {crop: {by_mm: 3}}], rules: [B-5]}
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV1, dose_gy: 60, fractions: 30}
technique: {kind: imrt, beams: 9}
imaging:
  slices:
    - {of: [GTV], at_most_mm: 5}
    - {of: [GTV], elsewhere: true, at_most_mm: 10}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard, rule: B-1}
  - {structure: Heart, metric: "V40Gy[%]", operator: "<", limit: 30, priority: goal, rule: B-2}
  - {structure: PTV1, metric: "D98%[Gy]", operator: ">=", limit: 95, percent_of: PTV1, priority: hard}
  - structure: Lungs
    metric: "V20Gy[%]"
    operator: "<="
    limit: 28
    priority: hard
    rule: B-4
    when: {reading: B-4, taken: limit}
drugs:
  regimens:
    - id: concurrent
      setting: concurrent
      cycles: [2]
      cycle_days: 21
      drugs:
        - name: paclitaxel
          days: [1]
          doses: [{id: low, mg_m2: 135, per: day}, {id: high, mg_m2: 150, per: day}]
          default: low
          order: never
"""
HEAD = """\
id: ours
version: "1"
extends: base.yaml
extends_version: "3"
changed_by: Dr A, Department B
date: 2026-11-02
why: our committee
"""


def laid(folder: Path, changes: str, head: str = HEAD, name: str = "ours.yaml", more: str = "") -> Protocol:
    """Write the protocol, with more sections, and an overlay of it into a folder, and read the overlay."""
    (folder / "base.yaml").write_text(BASE + more, encoding="utf-8")
    (folder / name).write_text(head + changes, encoding="utf-8")
    return load(folder / name)


def head_of(protocol: str) -> str:
    """Head of an overlay of a protocol of the library."""
    return HEAD.replace("base.yaml", protocol).replace('"3"', f'"{load(protocol).version}"')
