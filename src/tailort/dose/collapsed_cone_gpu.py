"""The collapsed cone of `tailort.dose.collapsed_cone` on a graphics processor.

The same physics from the same records: rays, TERMA and transport run on the device (`cuda/collapsed_cone.cu`), fluence
maps go up and the dose comes down. Only the order in which single-precision numbers are added differs from the CPU's,
and with it their rounding, also from run to run.

The rest of the package sees CuPy through `Device` alone: an array module with numpy's names, and a way to launch a
kernel.
"""

from __future__ import annotations

from functools import partial
from importlib import resources
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tailort.dose.bent_tracks import bent
from tailort.dose.collapsed_cone import Progress, dose_of, sectors
from tailort.dose.cones import NEGLIGIBLE, VACUUM, Cones, Lines, order_from
from tailort.dose.fan import Fan
from tailort.dose.fluence import Exposure
from tailort.dose.head import head_fluence
from tailort.dose.inputs import outline_mask, require_matching
from tailort.dose.space import DoseTo, Space
from tailort.dose.terma import HARDNESS_STEP_MM, PIXEL_MM, RAY_PITCH_MM, Field, Incident
from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.dose import Dose
from tailort.patient.plan import Beam, Plan
from tailort.physics.machine import Machine
from tailort.physics.point_kernel import DEPTH_STEP_CM, FIRST_DEPTH_CM, PointKernel, point_kernel

Float = NDArray[np.float64]
# An array on the device.
Array = Any

NAMES: dict[DoseTo, str] = {"medium": "collapsed-cone-gpu", "water": "collapsed-cone-gpu-water"}
LABELS: dict[DoseTo, str] = {to: f"collapsed-cone superposition on a graphics processor, dose to {to}" for to in NAMES}

# Threads that share a multiprocessor's instructions.
THREADS = 128
# What to do without a device.
OTHERWISE = "or use --engine collapsed-cone or collapsed-cone-water"


class Device(Protocol):
    """A processor with memory of its own."""

    @property
    def xp(self) -> Any:
        """Arrays on the device, as a module with numpy's names."""

    def launch(self, kernel: str, threads: int, directions: int, *arguments: Any) -> None:
        """Run a kernel of `source` for each thread and direction; arguments are arrays or numpy scalars."""

    def to_host(self, values: Array) -> NDArray[Any]:
        """Return a copy of an array in the host's memory."""

    def require_bytes(self, count: int) -> None:
        """Refuse what does not fit into the free memory."""


def source() -> str:
    """CUDA C source of the kernels; it wants `MOST_TERMS` defined, the exponentials of a ring at most."""
    return (resources.files("tailort.dose") / "cuda" / "collapsed_cone.cu").read_text(encoding="utf-8")


def most_terms(kernel: PointKernel) -> int:
    """Exponentials of a ring at most."""
    return max(len(ring.slopes) for ring in kernel.primary + kernel.scatter)


class Cuda:
    """The current CUDA device, by CuPy; see `Device`.

    Parameters
    ----------
    terms : int
        For which the kernels are compiled.

    Raises
    ------
    InputError
        When CuPy, a device or CUDA's run-time compiler is missing.
    """

    def __init__(self, terms: int) -> None:
        try:
            import cupy
        except ImportError as error:
            raise InputError(
                f"a dose on the GPU needs CuPy, which cannot be imported here ({error}): pip install tailort[gpu], "
                f"{OTHERWISE}"
            ) from error
        try:
            found = int(cupy.cuda.runtime.getDeviceCount())
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise InputError(
                f"a dose on the GPU needs a CUDA device, and none can be used here ({_line(error)}): install the "
                f"device's driver, {OTHERWISE}"
            ) from error
        if not found:
            raise InputError(
                f"a dose on the GPU needs a CUDA device, and this computer has none: run on one that has, {OTHERWISE}"
            )
        self.xp = cupy
        self._module = cupy.RawModule(code=source(), options=(f"-DMOST_TERMS={terms}",))
        try:
            self._module.compile()
        except RuntimeError as error:
            # CuPy's own errors of compilation are no RuntimeErrors: those would be faults of the source.
            raise InputError(
                f"a dose on the GPU needs CUDA's run-time compiler, which CuPy cannot use here ({_line(error)}): pip "
                f"install tailort[gpu], {OTHERWISE}"
            ) from error

    def launch(self, kernel: str, threads: int, directions: int, *arguments: Any) -> None:
        """See `Device`."""
        blocks = -(-threads // THREADS)
        self._module.get_function(kernel)((blocks, directions), (THREADS,), arguments)

    def to_host(self, values: Array) -> NDArray[Any]:
        """See `Device`."""
        out: NDArray[Any] = self.xp.asnumpy(values)
        return out

    def require_bytes(self, count: int) -> None:
        """See `Device`."""
        pool = self.xp.get_default_memory_pool()
        free = int(self.xp.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
        if count > free:
            raise InputError(
                f"this dose needs {count / 1e9:.1f} GB of the CUDA device's memory, of which {free / 1e9:.1f} GB are "
                f"free: free some or choose wider voxels, {OTHERWISE}"
            )


def compute(
    plan: Plan,
    density: Image,
    machine: Machine,
    grid: Grid,
    *,
    body: NDArray[Any] | None = None,
    progress: Progress | None = None,
    dose_to: DoseTo = "medium",
) -> Dose:
    """Physical dose of one fraction of a deliverable plan, computed on a CUDA device.

    Parameters
    ----------
    plan, density, machine, grid, body, progress, dose_to
        As those of `tailort.dose.collapsed_cone.compute`.

    Returns
    -------
    Dose
        Gy per fraction, physical.

    Raises
    ------
    InputError
        When CuPy, a device or memory is missing, or the plan's beams are not of this machine's kind.
    GeometryError
        When frames of reference or shapes differ, or the grid is oblique.
    """
    device = Cuda(most_terms(point_kernel(machine.spectrum)))
    return compute_on(device, plan, density, machine, grid, body=body, progress=progress, dose_to=dose_to)


def compute_on(
    device: Device,
    plan: Plan,
    density: Image,
    machine: Machine,
    grid: Grid,
    *,
    body: NDArray[Any] | None = None,
    progress: Progress | None = None,
    dose_to: DoseTo = "medium",
) -> Dose:
    """`compute` on a given device."""
    require_matching(plan, density, machine, grid)
    inside = outline_mask(density, grid, body)
    space = Space.around(grid, density, dose_to)
    device.require_bytes(_bytes(space))
    parts = sectors(plan)
    there = SpaceOnDevice(device, space, machine)
    for n, (beam, sector) in enumerate(parts):
        there.release_and_spread(beam, sector, plan.patient_position)
        if progress is not None:
            progress((n + 1) / len(parts))
    return dose_of(plan, space.on(device.to_host(there.left), grid), machine, grid, inside, NAMES[dose_to])


def _bytes(space: Space) -> int:
    """Memory of a plan on the device, with what its sums take meanwhile."""
    return int(space.traced.values.size * 4 + space.grid.size * 4 * 40 + 5e7)


class SpaceOnDevice:
    """The voxels of a `Space` on a device, in which energy is released, spread and summed.

    Parameters
    ----------
    device : Device
    space : Space
    machine : Machine

    Attributes
    ----------
    soft, hard : (k, j, i) float32, on the device
        TERMA of the present sector, see `tailort.dose.terma.add_terma`.
    flow : (3, k, j, i) float32, on the device
    left : (k, j, i) float32, on the device
        Energy left per electron density by all sectors so far, in the unit of the fluence.
    """

    def __init__(self, device: Device, space: Space, machine: Machine) -> None:
        xp = device.xp
        self._device, self._grid, self._machine = device, space.grid, machine
        self._kernel = point_kernel(machine.spectrum)
        self._traced_grid = space.traced.grid
        self._traced = _up(device, space.traced.values, np.float32)
        self._electrons = _up(device, space.electrons, np.float32)
        dense = xp.maximum(self._electrons, np.float32(VACUUM))
        self._dense = [xp.ascontiguousarray(dense.transpose(order_from(axis))) for axis in range(3)]
        self._tables = [_up(device, t) for t in (self._kernel.terma, self._kernel.hardness, self._kernel.fluence)]
        self.soft, self.hard, self.left = (xp.zeros(space.grid.shape, dtype=np.float32) for _ in range(3))
        self.flow = xp.zeros((3, *space.grid.shape), dtype=np.float32)

    def release_and_spread(self, beam: Beam, sector: tuple[Exposure, ...], position: PatientPosition) -> None:
        """Add to `left` what a part of a beam leaves."""
        for values in (self.soft, self.hard, self.flow):
            values.fill(0)
        for exposure in sector:
            self.release(beam, exposure, position)
        # The kernels' axis is the mean direction of the photons.
        direction = self._device.to_host(self.flow.reshape(3, -1).sum(axis=1, dtype=np.float64))
        if not direction.any():
            return
        primary, scatter = (Cones.around(direction, rings) for rings in (self._kernel.primary, self._kernel.scatter))
        device, grid, anchor_mm = self._device, self._grid, sector[0].setup.isocentre_mm
        carry(device, self.left, self.soft, self.hard, self.flow, self._dense, grid, anchor_mm, scatter)
        straight = device.xp.zeros(grid.shape, dtype=np.float32)
        carry(device, straight, self.soft, self.hard, self.flow, self._dense, grid, anchor_mm, primary)

        def carry_each(soft: Array, hard: Array | None, dense: Array, *cones: Cones) -> list[Array]:
            hard = device.xp.zeros_like(soft) if hard is None else hard
            flow = device.xp.zeros_like(self.flow)
            by_axis = [device.xp.ascontiguousarray(dense.transpose(order_from(axis))) for axis in range(3)]
            totals = [device.xp.zeros_like(soft) for _ in cones]
            for total, own in zip(totals, cones, strict=True):
                carry(device, total, soft, hard, flow, by_axis, grid, anchor_mm, own)
            return totals

        self.left += bent(straight, self._electrons, direction, self._kernel.primary_radius, carry_each)

    def release(self, beam: Beam, exposure: Exposure, position: PatientPosition) -> None:
        """Add the TERMA and its flow, and to `left` the dose of contaminating electrons, of one direction."""
        fan = Fan.of(exposure.setup, position, self._machine.source_axis_distance_mm)
        field = Field.of(fan, partial(head_fluence, exposure, beam, self._machine), self._kernel, self._machine)
        seen = None if field is None else Incident.on(self._grid, field)
        if field is None or seen is None:
            return
        view = _up(self._device, view_of(self._grid, self._traced_grid, field, seen, self._machine))
        depths = trace(self._device, view, self._traced, seen.count)
        summed, stray, shift = (_up(self._device, values) for values in (field.summed, field.stray, field.shift))
        self._device.launch(
            "terma", self._grid.size, 1, view, *_int(self._grid.shape), summed, stray, *_int(stray.shape), depths,
            *_int(depths.shape), shift, *_int(shift.shape), *self._tables, *_int(self._tables[0].shape), self.soft,
            self.hard, self.flow, self.left,
        )  # fmt: skip


def view_of(grid: Grid, traced: Grid, field: Field, seen: Incident, machine: Machine) -> Float:
    """One direction of a beam as the kernels take it: the struct View of the CUDA source."""
    head, fan = machine.head, field.fan
    return np.concatenate([
        fan.source_mm, fan.axes.ravel(), [fan.source_axis_distance_mm], grid.affine[:3].ravel(),
        traced.to_index(fan.source_mm), np.linalg.inv(traced.affine[:3, :3]).ravel(), seen.first, [RAY_PITCH_MM],
        field.start, [PIXEL_MM], seen.half, [HARDNESS_STEP_MM, FIRST_DEPTH_CM, DEPTH_STEP_CM],
        [head.contamination_cm2_g, head.contamination_per_cm],
    ])  # fmt: skip


def trace(device: Device, view: Array, traced: Array, count: NDArray[np.int64]) -> Array:
    """Radiological depths (s, v, u), cm, at so many nodes along u, v, s; see `Fan.depths_cm`."""
    columns, rows, layers = (int(n) for n in count)
    depths = device.xp.empty((layers, rows, columns), dtype=np.float32)
    device.launch("trace", rows * columns, 1, view, traced, *_int(traced.shape), *_int(depths.shape), depths)
    return depths


def carry(
    device: Device,
    total: Array,
    soft: Array,
    hard: Array,
    flow: Array,
    dense: list[Array],
    grid: Grid,
    anchor_mm: Any,
    *kernels: Cones,
) -> None:
    """Add to `total` the energy that cones leave in each voxel, per electron density; see `cones.transport`.

    Parameters
    ----------
    device : Device
        Of all the arrays.
    total, soft, hard : (k, j, i) float32
    flow : (3, k, j, i) float32
    dense : list of three float32
        Electron density relative to water, not below `VACUUM`, with each axis first and the others in their order.
    grid : Grid
        Of the arrays.
    anchor_mm : (3,) float
        Point from which the jumps of the lines are counted, LPS mm.
    *kernels : Cones
        Of one beam.
    """
    xp = device.xp
    highest = float(device.to_host(abs(soft).max() + abs(hard).max()))
    if highest == 0.0:
        return
    spacing = np.array(grid.spacing_mm)
    anchor = grid.to_index(np.asarray(anchor_mm, dtype=np.float64))
    lines = [Lines.of(cones, spacing / 10, (grid.affine[:3, :3] / spacing).T) for cones in kernels]
    across = _up(device, kernels[0].across, np.float32)
    steps = (grid.shape[1] * grid.shape[2], grid.shape[2], 1)
    for axis in range(3):
        order = order_from(axis)
        shape = tuple(grid.shape[n] for n in order)
        if not any(by_axis[axis].sign.size for by_axis in lines):
            continue
        sources = xp.empty((*shape, 4), dtype=np.float32)
        device.launch(
            "gather", grid.size, 1, soft, hard, flow, across, *_int(shape), *_int(steps[n] for n in order), sources
        )
        left = xp.zeros(shape, dtype=np.float32)
        for cones, by_axis in zip(kernels, lines, strict=True):
            if by_axis[axis].sign.size:
                negligible = np.float32(NEGLIGIBLE * float(np.abs(cones.weights).max()) * highest)
                sweep(device, left, sources, dense[axis], by_axis[axis], float(anchor[axis]), negligible)
        total += left.transpose(np.argsort(order).tolist())


def sweep(
    device: Device, left: Array, sources: Array, dense: Array, lines: Lines, anchor: float, negligible: np.float32
) -> None:
    """Add what lines of one main axis leave; all (planes, rows, columns) along it, `sources` as `gather` makes them."""
    xp = device.xp
    planes, rows, columns = left.shape
    directions, terms = lines.slopes.shape
    sign = _up(device, lines.sign, np.int32)
    jumps = xp.empty((directions, planes, 2), dtype=np.int8)
    device.launch(
        "jumps", directions, 1, sign, _up(device, lines.tilt), np.int32(directions),
        np.float64(anchor), np.int32(planes), jumps,
    )  # fmt: skip
    rates = _up(device, lines.slopes * lines.path_cm[:, None], np.float32)
    device.launch(
        "transport", rows * columns, directions, sources, dense, *_int(left.shape), sign, jumps, rates,
        _up(device, lines.weights, np.float32), np.int32(terms), negligible, left,
    )  # fmt: skip


def _up(device: Device, values: NDArray[Any], dtype: Any = np.float64) -> Array:
    """Contiguous copy on the device, as the kernels read it."""
    return device.xp.asarray(np.ascontiguousarray(values, dtype=dtype))


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _int(values: Any) -> list[np.int32]:
    return [np.int32(value) for value in values]
