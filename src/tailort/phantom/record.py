"""The clinical record that goes with a virtual body."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from tailort.phantom.parameters import Build

Record = dict[str, dict[str, Any]]


def write(build: Build, tumour_centre_cm: float, tumour_to_junction_cm: float, study_date: dt.date) -> Record:
    """Facts of one virtual patient as plain values: name -> {value, source, date}; dates are ISO strings.

    The tumour's centre is told from the incisors, its lower end from the gastro-oesophageal junction; both
    along the oesophagus.

    Values are those of a patient fit for chemoradiation; they come from the seed and are nobody's.
    """
    rng = np.random.default_rng([build.seed, 15485863])
    male = build.sex == "M"
    endoscopy, bloods, imaging, clinic = (study_date - dt.timedelta(days=int(n)) for n in (24, 3, 14, 7))
    length_cm = round(build.tumour_length_mm / 10, 1)
    weight = round(build.body_mass_index * build.stature_m**2, 1)
    creatinine_clearance = float(np.clip(rng.normal(92, 12), 66, 125))
    white = float(np.clip(rng.normal(7.0, 1.3), 4.5, 10.5))
    facts: dict[str, tuple[Any, str, dt.date]] = {
        "age_years": (build.age_years, "hospital record", clinic),
        "sex": (build.sex, "hospital record", clinic),
        "kps": (int(rng.choice([80, 90, 100], p=[0.35, 0.5, 0.15])), "consultation", clinic),
        "weight_kg": (weight, "consultation", clinic),
        "height_cm": (round(build.stature_m * 100), "consultation", clinic),
        "weight_loss_percent_6_months": (round(float(rng.uniform(0, 9)), 1), "consultation", clinic),
        "dysphagia_grade": (int(rng.integers(1, 4)), "consultation", clinic),
        "histology": ("squamous cell carcinoma", "endoscopic biopsy", endoscopy),
        "t_stage": ("T3", "endoscopic ultrasound", endoscopy),
        "n_stage": ("N1", "PET-CT", imaging),
        "m_stage": ("M0", "PET-CT", imaging),
        "tumour_level": (build.level, "endoscopy", endoscopy),
        "tumour_centre_from_incisors_cm": (round(tumour_centre_cm, 1), "endoscopy", endoscopy),
        "tumour_to_junction_cm": (round(tumour_to_junction_cm, 1), "endoscopy", endoscopy),
        "tumour_length_cm": (length_cm, "CT", imaging),
        "tumour_length_endoscopy_cm": (round(length_cm * float(rng.uniform(0.85, 1.0)), 1), "endoscopy", endoscopy),
        "tumour_length_oesophagram_cm": (round(length_cm * float(rng.uniform(0.9, 1.1)), 1), "oesophagram", imaging),
        "tumour_length_pet_cm": (round(length_cm * float(rng.uniform(0.9, 1.05)), 1), "PET-CT", imaging),
        "fistula": (False, "bronchoscopy", imaging),
        "treatment_intent": ("radical", "tumour board", clinic),
        "surgery": ("none", "tumour board", clinic),
        "concurrent_chemotherapy": (True, "tumour board", clinic),
        "prior_radiotherapy": (False, "hospital record", clinic),
        "white_cells_10e9_per_l": (round(white, 1), "blood count", bloods),
        "neutrophils_10e9_per_l": (round(white * float(rng.uniform(0.52, 0.68)), 1), "blood count", bloods),
        "platelets_10e9_per_l": (int(np.clip(rng.normal(245, 45), 150, 380)), "blood count", bloods),
        "haemoglobin_g_per_l": (int(np.clip(rng.normal(138 if male else 126, 9), 112, 165)), "blood count", bloods),
        "creatinine_clearance_ml_per_min": (round(creatinine_clearance), "laboratory", bloods),
        "alt_u_per_l": (int(rng.integers(12, 38)), "laboratory", bloods),
        "bilirubin_umol_per_l": (int(rng.integers(5, 17)), "laboratory", bloods),
        "fev1_percent": (int(np.clip(rng.normal(88, 10), 66, 115)), "spirometry", clinic),
        # Later draws stand below the earlier ones, so that a seed stays the person it was.
        "tumour_length_eus_cm": (
            round(length_cm * float(rng.uniform(0.9, 1.0)), 1),
            "endoscopic ultrasound",
            endoscopy,
        ),
        "bronchoscopy": (True, "bronchoscopy", imaging),
        "chemotherapy_arm": (f"arm {int(rng.integers(1, 3))}", "randomisation", clinic),
        "cetuximab": (bool(rng.integers(0, 2)), "randomisation", clinic),
        "individual_immobilisation": (True, "order of the planning CT", clinic),
        "flat_table": (True, "order of the planning CT", clinic),
        "barium_at_planning_ct": (True, "order of the planning CT", clinic),
        "contrast_chest_ct": (True, "CT", imaging),
    }
    return {
        name: {"value": value, "source": source, "date": date.isoformat()}
        for name, (value, source, date) in facts.items()
    }
