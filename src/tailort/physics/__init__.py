"""Materials, CT tables, beam data and machines: what is known before there is a patient."""

from tailort.physics.machine import Machine
from tailort.physics.machines import machine, machines
from tailort.physics.materials import (
    AIR_G_CM3,
    DENSEST_G_CM3,
    DensityTable,
    density,
    density_table,
    density_table_of_csv,
    density_tables,
    relative_electron_density,
)
from tailort.physics.pencil_kernel import PencilKernel, pencil_kernel

__all__ = [
    "AIR_G_CM3",
    "DENSEST_G_CM3",
    "DensityTable",
    "Machine",
    "PencilKernel",
    "density",
    "density_table",
    "density_table_of_csv",
    "density_tables",
    "machine",
    "machines",
    "pencil_kernel",
    "relative_electron_density",
]
