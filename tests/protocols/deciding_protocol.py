"""A small protocol with tables, readings and contradictions, after the salvage trial's decision tree."""

from __future__ import annotations

from tailort.protocols import Protocol, parse

SALVAGE = """\
id: salvage-example
version: "1"
title: A part of the decision tree of NCT03731442
rules:
  - {id: MS-01, text: R1 or R2 resection., source: MOD, mark: seed}
  - {id: MS-02, text: Locoregional recurrence after R0 surgery., source: MOD, mark: seed}
  - {id: MS-06, text: Age 16 to 70 years., source: MOD, mark: seed}
  - id: MS-07
    text: Good general condition.
    source: MOD
    mark: ambiguous
    reading: {default: KPS of 70 or more, other: KPS above 70}
  - id: MS-30
    text: R1 and R2 go to elective nodal irradiation.
    source: MOD
    mark: ambiguous
    reading: {default: always, other: they go through diameter and region as R0 does}
  - {id: MS-31, text: A lesion above 5 cm goes to involved fields., source: MOD, mark: lit-verified}
  - {id: MS-33, text: More than 16 months to recurrence goes to involved fields., source: MOD, mark: lit-verified}
  - id: MS-35
    text: Close to the thoracic stomach.
    source: MOD
    mark: ambiguous
    reading: {default: 1.0 cm or less, other: another distance}
  - {id: G-03, text: Contradictions are invalid input., source: general, mark: derived}
facts:
  - {name: surgery, type: choice, choices: [R0, R1, R2]}
  - {name: recurrence, type: boolean}
  - {name: residual, type: boolean}
  - {name: age_years, type: number, unit: years, range: [0, 120]}
  - {name: kps, type: integer, range: [0, 100], step: 10}
  - {name: diameter_cm, type: number, unit: cm, range: [0, 30]}
  - {name: surgery_date, type: date}
  - {name: recurrence_date, type: date}
  - {name: stomach_distance_cm, type: number, unit: cm, range: [0, 20]}
  - {name: v40_percent, type: number, unit: "%", range: [0, 100]}
  - {name: v50_percent, type: number, unit: "%", range: [0, 100]}
readings:
  - {rule: MS-07, default: paper, names: {paper: KPS of 70 or more, registry: KPS above 70}}
  - {rule: MS-30, default: always, names: {always: R1 and R2 are elective, tree: R1 and R2 go through the tree}}
contradictions:
  - text: the recurrence is before the surgery
    when: {fact: recurrence_date, operator: "<", than: surgery_date}
    rule: G-03
  - text: surgery was complete and left tumour behind
    when: {all: [{fact: surgery, operator: "==", value: R0}, {fact: residual, operator: "==", value: true}]}
    rule: G-03
  - text: more of the organ gets 50 Gy than 40 Gy
    when: {fact: v50_percent, operator: ">", than: v40_percent}
    rule: G-03
  - text: the surgery is still to come
    when: {fact: surgery_date, operator: ">", than: today}
    rule: G-03
eligibility:
  all:
    - any:
        - {fact: surgery, in: [R1, R2], rule: MS-01}
        - rule: MS-02
          all: [{fact: surgery, operator: "==", value: R0}, {fact: recurrence, operator: "==", value: true}]
    - {fact: age_years, between: [16, 70], rule: MS-06}
    - reading: MS-07
      cases:
        - {taken: paper, when: {fact: kps, operator: ">=", value: 70}}
        - {taken: registry, when: {fact: kps, operator: ">", value: 70}}
tables:
  - name: field
    text: Elective or involved fields
    rows:
      - outcome: ENI
        when: {all: [{fact: surgery, in: [R1, R2]}, {reading: MS-30, taken: always}]}
        rules: [MS-30]
      - {outcome: IFI, when: {fact: diameter_cm, operator: ">", value: 5, rule: MS-31}}
      - outcome: IFI
        when: {fact: recurrence_date, operator: ">", than: surgery_date, plus: {months: 16}, rule: MS-33}
    otherwise: ENI
  - name: course
    text: Which of the four plans
    rows:
      - {outcome: A, when: {all: [{outcome: field, in: [ENI]}, {fact: stomach_distance_cm, operator: ">", value: 1}]}}
      - {outcome: B, when: {outcome: field, in: [ENI]}}
      - outcome: C
        when: {fact: stomach_distance_cm, operator: ">", value: 1, rule: MS-35}
        note: 60 Gy in 30 fractions
    otherwise: D
targets:
  - {name: PTV, role: PTV, of: [GTVp]}
  - {name: PTV_Elective, role: PTV, when: {outcome: field, in: [ENI]}, of: [CTV]}
normalisation: {coverage: "D95%[Gy]"}
prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]
technique: {kind: imrt, beams: 7}
"""


def protocol_of(text: str) -> Protocol:
    """Read a protocol from its text."""
    return parse(text, "example.yaml")
