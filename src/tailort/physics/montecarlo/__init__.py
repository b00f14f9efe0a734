"""A small Monte Carlo of photons and electrons: point kernels in water, and doses to hold the engines against.

What is modelled: Compton scattering off free electrons (Klein-Nishina), pair production, photoelectric absorption
(coherent scattering is left out), electrons and positrons by condensed history without energy-loss straggling (their
secondary electrons are part of the energy loss), bremsstrahlung, annihilation at rest.
"""

from tailort.physics.montecarlo.boxes import Arc, BoxDose, box_dose
from tailort.physics.montecarlo.kernels import monoenergetic_kernel
from tailort.physics.montecarlo.materials import Medium, medium
from tailort.physics.montecarlo.slabs import PencilDose, pencil_dose

__all__ = ["Arc", "BoxDose", "Medium", "PencilDose", "box_dose", "medium", "monoenergetic_kernel", "pencil_dose"]
