"""Couch angles at which gantry and couch or patient may meet."""

from __future__ import annotations

from tailort.patient.plan import Plan

# A couch turned by less does not reach into the gantry's way; a gantry this near to the top passes above it.
COUCH_FREE_DEG = 10.0
GANTRY_FREE_DEG = 40.0


def collision_warnings(plan: Plan) -> tuple[str, ...]:
    """Sentences about beams whose couch is turned while the gantry is not above it.

    A rule of thumb, not a model of a linac: whether they meet depends on the machine, the isocentre's place and the
    patient. Beams with the couch at 0 give none.
    """
    told = []
    for beam in plan.beams:
        risky = [
            point
            for point in beam.control_points
            if _from_zero(point.couch_deg) > COUCH_FREE_DEG and _from_zero(point.gantry_deg) > GANTRY_FREE_DEG
        ]
        if risky:
            at = risky[0]
            told.append(
                f"beam '{beam.name}' turns the couch to {at.couch_deg:g} degrees with the gantry at {at.gantry_deg:g}: "
                "gantry and couch or patient may collide; nothing here computes it, so try it at the linac"
            )
    return tuple(told)


def _from_zero(angle_deg: float) -> float:
    return abs((angle_deg + 180.0) % 360.0 - 180.0)
