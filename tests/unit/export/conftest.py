"""A drawn hand, assessed from DICOM bytes by untrained networks, with everything a report can hold."""

import io
from datetime import UTC, date, datetime

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from baa_core.export.content import Identity, ReportContent, collect
from baa_core.phantom import draw_phantom
from baa_core.reference.course import GrowthPoint
from baa_core.types import Patient, Report
from baa_core.workflows.assess import Assessor

NAME, PATIENT_ID = "Mustermann^Erika", "PID-4711"
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def dicom_hand(**elements: object) -> bytes:
    """A drawn hand of 10 years as a DICOM file with a patient in its header; None leaves an element out."""
    phantom = draw_phantom(120, "female", seed=3, height_px=500)
    pixels = np.rint(phantom.radiograph.pixels * 4095).astype(np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.Modality = 16, 12, 11, "DX"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = NAME, PATIENT_ID, "F"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.AccessionNumber = "20140203", "20240405", "ACC-77"
    dataset.StudyID, dataset.StudyTime = "STUDY-5", "101112"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DX
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = (generate_uid() for _ in range(3))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientOrientation, dataset.ImageLaterality = ["L", "F"], "L"
    dataset.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="session")
def source() -> bytes:
    return dicom_hand()


@pytest.fixture(scope="session")
def report(tiny_assessor: Assessor, source: bytes) -> Report:
    return tiny_assessor.assess(source, Patient("female", 120.0), name="hand.dcm", explain=True)


@pytest.fixture(scope="session")
def content(report: Report) -> ReportContent:
    """With one earlier assessment, and no identity."""
    return collect(report, earlier=[GrowthPoint(96, 90, (80, 100))], made_at=datetime(2024, 4, 6, 9, 30, tzinfo=UTC))


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity(PATIENT_ID, NAME, date(2014, 2, 3), date(2024, 4, 5), "ACC-77", "STUDY-5", "F")
