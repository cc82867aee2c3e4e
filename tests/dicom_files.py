"""Series of DICOM files, written from small arrays."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = "Doe^Jane"
AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
OBLIQUE = (0.96, 0.28, 0.0, -0.168, 0.576, 0.8)
NAMES = tuple(f"IM{n:04d}" for n in range(1000))


def uid(*words):
    """Return an identifier that depends on `words` alone."""
    return generate_uid(entropy_srcs=[str(w) for w in words])


def blank(kind=MRImageStorage, series="s", **tags):
    """Return a file without pixels, of a patient with a name."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
    ds.SeriesInstanceUID, ds.StudyInstanceUID = uid(series), uid("study")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT, "PID-4711", "19700101"
    ds.Modality, ds.SeriesNumber, ds.SeriesDescription = "CT" if kind == CTImageStorage else "MR", 3, "T1 MPRAGE"
    for name, value in tags.items():
        setattr(ds, name, value)
    return ds


def with_pixels(ds, pixels):
    """Put (rows, columns), (frames, rows, columns) or RGB (rows, columns, 3) into a file."""
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    ds.Rows, ds.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    ds.SamplesPerPixel = 3 if colours else 1
    if colours:
        ds.PlanarConfiguration = 0
    if "PhotometricInterpretation" not in ds:
        ds.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(pixels).tobytes()
    return ds


def save(ds, path):
    """Write a file; what makes it known as itself is its place in the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("instance", path)
    ds.save_as(path, enforce_file_format=True)
    return path


def positions(count, orientation=AXIAL, origin=(-31.5, 12.25, -40.0), step_mm=2.5, shift=(0, 0, 0)):
    """Return where slices lie along their normal, each shifted by `shift` mm more than the one before."""
    cosines = np.array(orientation, float).reshape(2, 3)
    step = np.cross(*cosines) * step_mm + np.array(shift, float)
    return [tuple(np.round(np.array(origin) + n * step, 6)) for n in range(count)]


def write_series(folder, volume, orientation=AXIAL, places=None, names=NAMES, spacing_mm=(0.8, 1.5), each=None, **tags):
    """Write (slices, rows, columns) as one file per slice; `each` gives further elements of a slice by its number."""
    places = positions(len(volume), orientation) if places is None else places
    for number, (pixels, place) in enumerate(zip(volume, places, strict=True)):
        ds = blank(series=tags.get("series", folder.name), **{
            "ImageOrientationPatient": list(orientation), "ImagePositionPatient": [float(v) for v in place],
            "PixelSpacing": list(spacing_mm), "SliceThickness": 9.0, "InstanceNumber": number + 1,
            **{k: v for k, v in tags.items() if k != "series"}, **(each(number) if each else {}),
        })  # fmt: skip
        save(with_pixels(ds, pixels), folder / names[number])
    return folder


def numbers(shape=(5, 7, 6), dtype=np.int16, seed=0):
    """Return a volume of noise."""
    return np.random.default_rng(seed).integers(0, 200 if np.dtype(dtype).itemsize == 1 else 2000, shape).astype(dtype)


def enhanced(volume, places, orientation=AXIAL, spacing_mm=(0.8, 1.5), scales=None, told=None):
    """Return one file of several frames with their places, and what else each tells."""
    ds = blank(EnhancedMRImageStorage, NumberOfFrames=len(volume))
    shared = Dataset()
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = list(orientation)
    measures.PixelSpacing, measures.SliceThickness = list(spacing_mm), 9.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], []
    for number, place in enumerate(places):
        frame, position, scale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [float(v) for v in place]
        frame.PlanePositionSequence = [position]
        if scales:
            scale.RescaleSlope, scale.RescaleIntercept = scales[number]
            frame.PixelValueTransformationSequence = [scale]
        if told:
            content = Dataset()
            content.TemporalPositionIndex = told[number]
            frame.FrameContentSequence = [content]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    return with_pixels(ds, volume)
