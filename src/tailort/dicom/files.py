"""Which files of a folder are DICOM, and what their headers say."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, MediaStorageDirectoryStorage

from tailort.errors import DicomError

Progress = Callable[[str, float], None]

_READERS = 4
# What pydicom raises on files that end early or hold nonsense.
DAMAGED = (
    EOFError, BytesLengthException, InvalidDicomError, OSError, struct.error, zlib.error,
    ValueError, OverflowError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DicomFile:
    """One DICOM file: its header, and where its pixels are.

    Parameters
    ----------
    path : Path
        The file.
    header : Dataset
        All attributes before the pixels.
    pixels_at : int or None
        Byte offset of native pixels; None when there are none or they are compressed.
    pixel_bytes : int
        Length of native pixels, bytes.
    has_pixels : bool
        Whether there is pixel data of any kind.
    """

    path: Path
    header: FileDataset
    pixels_at: int | None
    pixel_bytes: int
    has_pixels: bool

    @property
    def sop_class_uid(self) -> str:
        """What kind of object it is."""
        return self.text("SOPClassUID")

    @property
    def sop_instance_uid(self) -> str:
        """Its own UID."""
        return self.text("SOPInstanceUID")

    @property
    def series_uid(self) -> str:
        """UID of its series."""
        return self.text("SeriesInstanceUID")

    @property
    def frame_of_reference(self) -> str:
        """Frame of Reference UID; empty when absent."""
        return self.text("FrameOfReferenceUID")

    @property
    def transfer_syntax(self) -> UID:
        """How the file is encoded."""
        return cast(UID, self.header.file_meta.get("TransferSyntaxUID", UID("1.2.840.10008.1.2")))

    @property
    def frames(self) -> int:
        """Number of image planes."""
        told = self.optional("NumberOfFrames")
        try:
            return int(told or 1)
        except (TypeError, ValueError) as error:
            raise DicomError(f"file '{self.path}': NumberOfFrames is '{told}', which is no number") from error

    def optional(self, keyword: str) -> Any:
        """Value of an attribute, None when it is absent.

        Raises
        ------
        DicomError
            When it is there and cannot be read.
        """
        try:
            return self.header.get(keyword)
        except DAMAGED as error:
            raise DicomError(f"file '{self.path}' is damaged: {keyword} cannot be read ({error})") from error

    def text(self, keyword: str) -> str:
        """Text of an attribute, empty when it is absent."""
        value = self.optional(keyword)
        return "" if value is None else str(value)

    def value(self, keyword: str) -> Any:
        """Value of an attribute that has to be there.

        Raises
        ------
        DicomError
            When it is absent, empty or cannot be read.
        """
        value = self.optional(keyword)
        if value is None or value == "":
            raise DicomError(f"file '{self.path}' has no {keyword}, which reading it needs: export it again")
        return value

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return the `count` numbers of an attribute that has to be there."""
        value = self.value(keyword)
        try:
            found = tuple(float(v) for v in (value if np.iterable(value) and not isinstance(value, str) else [value]))
        except (TypeError, ValueError) as error:
            raise DicomError(f"file '{self.path}': {keyword} is '{value}', which is not numbers") from error
        if len(found) != count or not np.isfinite(found).all():
            raise DicomError(f"file '{self.path}': {keyword} is '{value}'; expected {count} finite number(s)")
        return found


class _Watched:
    """A file that remembers whether more was asked of it than it holds."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.seek, self.tell, self.close = raw.seek, raw.tell, raw.close
        self.short = False
        self._ends = 0

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        if size > 0 and len(data) < size:
            # Meeting the end once, with nothing left over, is how a whole file ends.
            self._ends += 1
            self.short = self.short or bool(data) or self._ends > 1
        return data


def read_folder(folder: Path, progress: Progress | None = None) -> tuple[tuple[DicomFile, ...], tuple[str, ...]]:
    """Headers of all DICOM files below a folder, and notes on what was skipped.

    Raises
    ------
    DicomError
        When the folder is not there, or a DICOM file is truncated or damaged (named).
    """
    folder = Path(folder)
    if not folder.exists():
        raise DicomError(f"folder '{folder}' does not exist: name the folder that holds the DICOM files")
    if not folder.is_dir():
        raise DicomError(f"'{folder}' is a file: name the folder that holds the DICOM files")
    paths, links = _files_below(folder)
    found: list[DicomFile] = []
    skipped = 0
    with ThreadPoolExecutor(_READERS) as pool:
        for number, file in enumerate(pool.map(_read_header, paths)):
            if progress is not None:
                progress("reading headers", (number + 1) / len(paths))
            if file is None:
                skipped += 1
            elif file.sop_class_uid != MediaStorageDirectoryStorage:
                found.append(file)
    notes = [f"{skipped} file(s) that are not DICOM were skipped"] if skipped else []
    if links:
        notes.append(f"{links} link(s) to other folders were not followed")
    return tuple(found), tuple(notes)


def _files_below(folder: Path) -> tuple[list[Path], int]:
    """Every file below a folder in a fixed order, and how many links to folders were not followed."""

    def refuse(error: OSError) -> None:
        raise DicomError(f"folder '{error.filename}' cannot be read: {error.strerror}") from error

    paths: list[Path] = []
    links = 0
    for root, folders, names in os.walk(folder, onerror=refuse):
        paths.extend(Path(root) / name for name in names)
        links += sum((Path(root) / name).is_symlink() for name in folders)
    return sorted(paths), links


def _looks_like_dicom(start: bytes) -> bool:
    if start[128:132] == b"DICM":
        return True
    # Old files lack the preamble and begin with a short element of group 8.
    group, element = struct.unpack("<HH", start[:4])
    return group == 0x0008 and element in (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016)


def _read_header(path: Path) -> DicomFile | None:
    try:
        # A link that leads nowhere, a pipe or a socket is no DICOM file, and opening a pipe would wait for ever.
        if not path.is_file():
            _require_other_name(path)
            return None
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            start = raw.read(132)
            if len(start) < 132 or not _looks_like_dicom(start):
                _require_other_name(path)
                return None
            raw.seek(0)
            return _parse(path, raw, size)
    except OSError as error:
        raise DicomError(f"file '{path}' cannot be read: {error.strerror or error}") from error


def _require_other_name(path: Path) -> None:
    """Refuse what is called .dcm and is not DICOM."""
    if path.suffix.lower() == ".dcm":
        raise DicomError(
            f"file '{path}' is called .dcm and is not DICOM: it is truncated or damaged; copy or export it again"
        )


def _parse(path: Path, raw: BinaryIO, size: int) -> DicomFile:
    watched = _Watched(raw)
    try:
        header = pydicom.dcmread(cast(BinaryIO, watched), stop_before_pixels=True, force=True)
        end = raw.tell()
    except DAMAGED as error:
        raise DicomError(f"file '{path}' is truncated or damaged: copy or export it again ({error})") from error
    if watched.short:
        raise DicomError(f"file '{path}' is truncated: it ends in the middle of an element; copy or export it again")
    syntax = header.file_meta.get("TransferSyntaxUID", "")
    if syntax == DeflatedExplicitVRLittleEndian:
        return DicomFile(path, header, None, 0, "Rows" in header)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    raw.seek(end)
    element = raw.read(12)
    if not element:
        return DicomFile(path, header, None, 0, has_pixels=False)
    if len(element) < 12:
        raise DicomError(f"file '{path}' is truncated: it ends before its pixels; copy or export it again")
    explicit = element[4:6] in (b"OW", b"OB", b"OF", b"OD", b"UN")
    (length,) = struct.unpack(order + "I", element[8:12] if explicit else element[4:8])
    at = end + (12 if explicit else 8)
    if length == 0xFFFFFFFF:
        return DicomFile(path, header, None, 0, has_pixels=True)
    if at + length > size:
        raise DicomError(
            f"file '{path}' is truncated: its pixels should have {length} bytes and {size - at} are there; "
            "copy or export it again"
        )
    return DicomFile(path, header, at, length, has_pixels=True)


def stored_values(file: DicomFile) -> NDArray[Any]:
    """Stored pixel values of a grey image, (frames, rows, columns), before any rescaling.

    Raises
    ------
    DicomError
        When the image is not grey, or its compression cannot be decoded here.
    """
    header = file.header
    shape = (file.frames, int(file.value("Rows")), int(file.value("Columns")))
    allocated = int(file.value("BitsAllocated"))
    colour = str(file.value("PhotometricInterpretation"))
    if colour != "MONOCHROME2" or int(header.get("SamplesPerPixel", 1)) != 1:
        raise DicomError(f"file '{file.path}' has {colour} pixels; expected MONOCHROME2")
    if allocated not in (8, 16, 32):
        raise DicomError(f"file '{file.path}' has {allocated} bits a pixel; expected 8, 16 or 32")
    signed = bool(header.get("PixelRepresentation", 0))
    if not file.has_pixels:
        raise DicomError(f"file '{file.path}' has no pixels: it is truncated, or only a header")
    if file.pixels_at is None:
        return _decoded(file, shape)
    order = ">" if file.transfer_syntax == ExplicitVRBigEndian else "<"
    dtype = np.dtype(f"{order}{'i' if signed else 'u'}{allocated // 8}")
    count = shape[0] * shape[1] * shape[2]
    if file.pixel_bytes < count * dtype.itemsize:
        raise DicomError(
            f"file '{file.path}' is truncated: {shape[0]} frame(s) of {shape[1]} x {shape[2]} pixels need "
            f"{count * dtype.itemsize} bytes, {file.pixel_bytes} are there"
        )
    values = np.fromfile(file.path, dtype, count, offset=file.pixels_at).reshape(shape)
    stored = int(header.get("BitsStored", allocated))
    unused_above = allocated - 1 - int(header.get("HighBit", stored - 1))
    if stored < allocated:
        # Bits beyond the stored ones may hold anything, an overlay for example.
        values = (values << unused_above) >> (allocated - stored)
    return values


def _decoded(file: DicomFile, shape: tuple[int, int, int]) -> NDArray[Any]:
    try:
        whole = pydicom.dcmread(file.path)
        values: NDArray[Any] = whole.pixel_array.reshape(shape)
    except (*DAMAGED, RuntimeError) as error:
        raise DicomError(
            f"file '{file.path}' is compressed as {file.transfer_syntax.name}, which cannot be decoded here, or is "
            "damaged: export it uncompressed (Explicit VR Little Endian)"
        ) from error
    return values
