"""Materials, CT tables, beam data and machines: what is known before there is a patient."""

from tailort.physics.machine import Machine
from tailort.physics.machines import machine, machines
from tailort.physics.materials import (
    DensityTable,
    density,
    density_table,
    density_tables,
    relative_electron_density,
)
from tailort.physics.pencil_kernel import PencilKernel, pencil_kernel

__all__ = [
    "DensityTable",
    "Machine",
    "PencilKernel",
    "density",
    "density_table",
    "density_tables",
    "machine",
    "machines",
    "pencil_kernel",
    "relative_electron_density",
]
