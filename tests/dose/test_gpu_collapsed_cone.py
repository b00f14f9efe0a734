"""The collapsed cone on a graphics processor gives the CPU's dose.

Where there is no device its CUDA source is compiled for the host by g++ (`gpu_shim.cpp`), and numpy takes CuPy's place.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailort.dose import collapsed_cone
from tailort.dose import collapsed_cone_gpu as gpu
from tailort.dose.collapsed_cone import fields_of, sectors
from tailort.dose.cones import VACUUM, Cones, order_from, transport
from tailort.dose.fan import Fan
from tailort.dose.space import DoseTo, Space
from tailort.dose.terma import RAY_PITCH_MM, Field, Incident, add_terma
from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.physics import machine
from tailort.physics.point_kernel import point_kernel

# Of the terms of the tested kernels; those of a machine have fewer.
MOST_TERMS = 4
LINAC = machine("generic-6MV")
SHIM = Path(__file__).parent / "gpu_shim.cpp"


class Host:
    """A device whose memory is the host's and whose kernels run on the CPU."""

    xp = np

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def launch(self, kernel: str, threads: int, directions: int, *arguments: Any) -> None:
        letters = ctypes.create_string_buffer(100)
        getattr(self._library, f"letters_{kernel}")(letters)
        given = "".join(a.dtype.char.upper() if isinstance(a, np.ndarray) else a.dtype.char for a in arguments)
        assert given == letters.value.decode(), f"arguments of {kernel}"
        assert all(a.flags.c_contiguous for a in arguments if isinstance(a, np.ndarray))
        # Pointers to the arguments; that of an array is a pointer itself.
        held = [
            ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.create_string_buffer(a.tobytes())
            for a in arguments
        ]
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        getattr(self._library, f"launch_{kernel}")(-(-threads // gpu.THREADS), directions, gpu.THREADS, pointers)

    def to_host(self, values: Any) -> NDArray[Any]:
        return np.array(values)

    def require_bytes(self, count: int) -> None:
        pass


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the CUDA source for the host")
    folder = tmp_path_factory.mktemp("gpu")
    kernels, library = folder / "collapsed_cone.cu", folder / "kernels.so"
    kernels.write_text(gpu.source(), encoding="utf-8")
    subprocess.run(
        [
            compiler, "-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f'-DKERNELS="{kernels}"',
            f"-DMOST_TERMS={MOST_TERMS}", "-o", str(library), str(SHIM),
        ],
        check=True,
    )  # fmt: skip
    return Host(library)


def cones_of(directions: NDArray[np.float64], terms: int, rng: np.random.Generator) -> Cones:
    """Random terms along given directions."""
    count = len(directions)
    weights = rng.uniform(-0.2, 1.0, (count, 2, terms)) / count
    across = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
    return Cones(
        directions / np.linalg.norm(directions, axis=1)[:, None], rng.uniform(0.05, 8.0, (count, terms)), weights,
        across, rng.uniform(-0.3, 0.3, (count, 2, terms)) / count,
    )  # fmt: skip


def both_carry(
    host: Host, soft: Any, hard: Any, flow: Any, electrons: Any, grid: Grid, anchor_mm: Any, *kernels: Cones
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Transport on the CPU and by the CUDA source."""
    spacing = np.array(grid.spacing_mm)
    to_index, anchor = (grid.affine[:3, :3] / spacing).T, grid.to_index(np.asarray(anchor_mm, dtype=np.float64))
    cpu = np.sum(transport(soft, hard, flow, electrons, spacing / 10, to_index, anchor, *kernels), axis=0)
    dense = np.maximum(electrons, np.float32(VACUUM))
    there = np.zeros(grid.shape, dtype=np.float32)
    by_axis = [np.ascontiguousarray(dense.transpose(order_from(axis))) for axis in range(3)]
    gpu.carry(host, there, soft, hard, flow, by_axis, grid, anchor_mm, *kernels)
    return cpu, there


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*[st.integers(1, 19)] * 3),
    terms=st.tuples(st.integers(1, MOST_TERMS), st.integers(1, MOST_TERMS)),
    anchor=st.tuples(*[st.floats(-40.0, 60.0)] * 3),
    position=st.sampled_from([(1.0, 1.0), (-1.0, -1.0)]),
)
def test_lines_carry_what_they_do_on_the_cpu_through_any_densities(
    host: Host,
    seed: int,
    shape: tuple[int, int, int],
    terms: tuple[int, int],
    anchor: tuple[float, float, float],
    position: tuple[float, float],
) -> None:
    rng = np.random.default_rng(seed)
    affine = Grid.axial(shape, (3.0, 2.5, 2.0), (-10.0, 5.0, -7.0), "frame").affine.copy()
    affine[:2, :3] *= np.array(position)[:, None]
    grid = Grid(shape, affine, "frame")
    electrons = rng.choice([0.0, 0.001, 0.26, 1.0, 1.7, 8.0], shape).astype(np.float32)
    released = rng.uniform(size=shape) > rng.uniform(0.0, 0.9)
    soft, hard = ((rng.uniform(0, 1, shape) * released).astype(np.float32) for _ in range(2))
    flow = (rng.uniform(-1, 1, (3, *shape)) * (soft + hard)).astype(np.float32)
    kernels = [cones_of(rng.normal(size=(9, 3)), n, rng) for n in terms]
    cpu, there = both_carry(host, soft, hard, flow, electrons, grid, anchor, *kernels)
    np.testing.assert_allclose(there, cpu, atol=1e-4 * max(float(np.abs(cpu).max()), 1e-30))


@settings(max_examples=40, deadline=None)
@given(
    direction=st.one_of(
        st.tuples(*[st.sampled_from([-1.0, -0.75, -0.5, 0.0, 0.25, 0.5, 1.0])] * 3), st.tuples(*[st.floats(-1, 1)] * 3)
    ).filter(lambda d: np.linalg.norm(d) > 0.1),
    anchor=st.tuples(*[st.integers(-30, 30)] * 3),
    beside=st.floats(-1e-15, 1e-15),
    seed=st.integers(0, 10_000),
)
# Here a line at 45 degrees would jump by two voxels if it might.
@example(direction=(0.0, 1.0, 1.0), anchor=(0, 0, -39), beside=-2.2e-16, seed=1)
def test_lines_jump_where_they_do_on_the_cpu(
    host: Host, direction: tuple[float, float, float], anchor: tuple[int, int, int], beside: float, seed: int
) -> None:
    """Points release energy: the voxels that it reaches are the same, ties of rounding included."""
    rng = np.random.default_rng(seed)
    grid = Grid.axial((20, 13, 18), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "frame")
    soft = (rng.uniform(size=grid.shape) > 0.995).astype(np.float32)
    soft[5, 4, 6] = 1.0
    nothing, flow = np.zeros_like(soft), np.zeros((3, *grid.shape), dtype=np.float32)
    cones = Cones(
        np.array([direction]) / np.linalg.norm(direction), np.array([[1.0]]), np.array([[[1.0], [0.0]]]),
        np.eye(3)[:2], np.zeros((1, 2, 1)),
    )  # fmt: skip
    electrons = np.full(grid.shape, 1.0, dtype=np.float32)
    anchor_mm = 0.5 * np.array(anchor) * (1.0 + beside)
    cpu, there = both_carry(host, soft, nothing, flow, electrons, grid, anchor_mm, cones)
    np.testing.assert_array_equal(there > 0, cpu > 0)
    np.testing.assert_allclose(there, cpu, rtol=1e-4, atol=1e-7)


def beam_of(points: list[ControlPoint], number: int = 1, dynamic: bool = False) -> Beam:
    return Beam(
        f"b{number}", number, LINAC.id, LINAC.energy_mv, LINAC.flattened, (12.0, -4.0, 3.0), LINAC.leaf_boundaries_mm,
        tuple(points), dynamic,
    )  # fmt: skip


def leaves(low: float, high: float) -> NDArray[np.float64]:
    slope = np.linspace(-8.0, 8.0, LINAC.leaf_pairs)
    return np.stack([low + slope, high + slope])


def static(number: int, gantry: float, collimator: float = 0.0, couch: float = 0.0) -> Beam:
    jaws = ((-30.0, 25.0), (-22.0, 28.0))
    ends = [(0.0, -26.0, 20.0), (40.0, -26.0, 20.0), (40.0, -10.0, 22.0), (60.0, -10.0, 22.0)]
    points = [ControlPoint(mu, gantry, collimator, couch, *jaws, leaves(low, high)) for mu, low, high in ends]
    return beam_of(points, number)


def arc() -> Beam:
    jaws = ((-30.0, 30.0), (-25.0, 25.0))
    points = [
        ControlPoint(20.0 * n, (350.0 + 5.0 * n) % 360.0, 15.0, 0.0, *jaws, leaves(-20.0 + n, 20.0 + n))
        for n in range(6)
    ]
    return beam_of(points, 9, dynamic=True)


def plan_of(*beams: Beam) -> Plan:
    return Plan("plan", beams, (), 1, "HFS", "frame")


def thorax() -> Image:
    """A cylinder of water with two lungs, a spine and a tumour; voxels are not cubes."""
    grid = Grid.axial((26, 44, 50), (5.0, 4.0, 4.5), (-110.0, -86.0, -62.0), "frame")
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    density = np.where(np.hypot(x / 1.2, y) < 80, 1.0, 0.0012)
    for side in (-1, 1):
        density = np.where(np.hypot(x - 45 * side, y) < 34, 0.26, density)
    density = np.where(np.hypot(x, y - 45) < 14, 1.5, density)
    density = np.where(np.hypot(x - 15, y + 5) < 12, 1.03, density)
    return Image(grid, density.astype(np.float32), "g/cm3")


@pytest.mark.parametrize("gantry", [0.0, 37.0, 90.0, 215.0])
def test_rays_are_as_deep_as_on_the_cpu(host: Host, gantry: float) -> None:
    rng = np.random.default_rng(3)
    grid = Grid.axial((9, 15, 12), (5.0, 3.0, 4.0), (-24.0, -20.0, -22.0), "frame")
    image = Image(grid, rng.uniform(0.0, 2.0, grid.shape).astype(np.float32), "1")
    fan = Fan.of(BeamSetup("b", 1, (2.0, 1.0, -3.0), gantry, 20.0, 5.0), "HFS", 1000.0)
    first, count = np.array([-40.0, -35.0, 930.0]), np.array([33, 29, 60])
    field = Field(fan, np.zeros((2, 2)), np.zeros((1, 1)), np.zeros(2), np.zeros(2))
    seen = Incident(np.ones(2), first, count.astype(np.int64))
    found = gpu.trace(host, gpu.view_of(grid, grid, field, seen, LINAC), image.values, count)
    expected = fan.depths_cm(image, first, count, RAY_PITCH_MM)
    assert expected.max() > 3.0
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize(("gantry", "couch"), [(0.0, 0.0), (140.0, 0.0), (270.0, 25.0)])
def test_photons_release_what_they_do_on_the_cpu(host: Host, gantry: float, couch: float) -> None:
    """TERMA of both kernels, its flow, and the contamination, of two directions one after the other."""
    space = Space.around(thorax().grid, thorax(), "medium")
    kernel = point_kernel(LINAC.spectrum)
    soft, hard, surface = (np.zeros(space.grid.shape, dtype=np.float32) for _ in range(3))
    flow = np.zeros((3, *space.grid.shape), dtype=np.float32)
    there = gpu.SpaceOnDevice(host, space, LINAC)
    for beam, (exposure, *_) in sectors(plan_of(static(1, gantry, 30.0, couch), static(2, gantry + 8.0))):
        (field,) = fields_of(beam, [exposure], "HFS", LINAC)
        add_terma(soft, hard, flow, surface, space.grid, field, space.traced, kernel, LINAC)
        there.release(beam, exposure, "HFS")
    for found, expected in ((there.soft, soft), (there.hard, hard), (there.flow, flow), (there.left, surface)):
        highest = float(np.abs(expected).max())
        assert highest > 0.0
        np.testing.assert_allclose(found, expected, atol=1e-5 * highest)


@pytest.mark.parametrize(
    ("beams", "dose_to"),
    [
        ((static(1, 20.0), static(2, 110.0, 40.0), static(3, 250.0)), "medium"),
        pytest.param((arc(),), "water", marks=pytest.mark.slow),
    ],
)
def test_a_plan_gets_the_dose_of_the_cpu(host: Host, beams: tuple[Beam, ...], dose_to: DoseTo) -> None:
    """Within 0.1 % of the maximum, on wide dose voxels as well (those of 5 mm are divided)."""
    ct = thorax()
    plan, body = plan_of(*beams), np.ones(ct.grid.shape)
    told: list[float] = []
    found = gpu.compute_on(host, plan, ct, LINAC, ct.grid, body=body, progress=told.append, dose_to=dose_to)
    expected = collapsed_cone.compute(plan, ct, LINAC, ct.grid, body=body, dose_to=dose_to)
    highest = float(expected.image.values.max())
    assert highest > 0.1
    assert float(np.abs(found.image.values - expected.image.values).max()) < 1e-3 * highest
    for name in ("quantity", "per", "fractions", "alpha_beta_gy", "plan_uid"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.image.grid == ct.grid
    assert found.engine == gpu.NAMES[dose_to]
    assert told[-1] == 1.0


def test_a_plan_of_another_energy_is_refused(host: Host) -> None:
    ct = thorax()
    wrong = plan_of(replace(static(1, 0.0), energy_mv=10.0))
    with pytest.raises(InputError, match="choose a machine"):
        gpu.compute_on(host, wrong, ct, LINAC, ct.grid)


def test_a_beam_past_the_patient_leaves_nothing(host: Host) -> None:
    ct = thorax()
    beside = plan_of(replace(static(1, 0.0), isocentre_mm=(0.0, 0.0, 400.0)))
    assert gpu.compute_on(host, beside, ct, LINAC, ct.grid, body=np.ones(ct.grid.shape)).image.values.max() == 0.0


def test_without_cupy_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    ct = thorax()
    with pytest.raises(InputError, match=r"needs CuPy.*pip install tailort\[gpu\].*--engine collapsed-cone"):
        gpu.compute(plan_of(static(1, 0.0)), ct, LINAC, ct.grid)


class NoDeviceError(RuntimeError):
    pass


def cupy_like(*, devices: Any = 1, compiles: bool = True, free: int = 10**12) -> ModuleType:
    """What `Cuda` asks of CuPy."""

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return int(devices)

    def compile_source() -> None:
        if not compiles:
            raise RuntimeError('Failure finding "libnvrtc.so.12"\nin any place')

    module = ModuleType("cupy")
    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=NoDeviceError, memGetInfo=lambda: (free, 2 * free))
    module.__dict__.update(
        cuda=SimpleNamespace(runtime=runtime),
        RawModule=lambda code, options: SimpleNamespace(compile=compile_source),
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 0),
    )
    return module


@pytest.mark.parametrize(
    ("cupy", "message"),
    [
        (cupy_like(devices=0), "this computer has none.*--engine collapsed-cone"),
        (
            cupy_like(devices=NoDeviceError("none")),
            r"none can be used here \(none\).*--engine collapsed-cone",
        ),
        (
            cupy_like(compiles=False),
            r'run-time compiler.*\(Failure finding "libnvrtc.*"\).*--engine collapsed-cone',
        ),
    ],
)
def test_without_a_device_the_engine_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, cupy: ModuleType, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(InputError, match=message):
        gpu.Cuda(3)


def test_a_dose_that_does_not_fit_on_the_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy_like(free=10**7))
    ct = thorax()
    with pytest.raises(InputError, match=r"needs 0\.1 GB .* 0\.0 GB are free.*--engine collapsed-cone"):
        gpu.compute(plan_of(static(1, 0.0)), ct, LINAC, ct.grid)


def test_on_a_cuda_device_a_plan_gets_the_dose_of_the_cpu() -> None:
    ct = thorax()
    plan, body = plan_of(static(1, 20.0), arc()), np.ones(ct.grid.shape)
    try:
        gpu.Cuda(MOST_TERMS)
    except InputError as error:
        pytest.skip(str(error))
    found = gpu.compute(plan, ct, LINAC, ct.grid, body=body).image.values
    expected = collapsed_cone.compute(plan, ct, LINAC, ct.grid, body=body).image.values
    assert float(np.abs(found - expected).max()) < 1e-3 * float(expected.max())
