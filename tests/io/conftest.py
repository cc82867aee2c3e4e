"""Small files for layout tests."""

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def make(tmp_path):
    """Return a function that writes tiny images (a shape may be given) below the test's folder."""

    def write(*names, shape=(3, 4, 5), value=1, root="data"):
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith((".png", ".jpg", ".tif")):
                from PIL import Image as Pillow

                Pillow.fromarray(np.full(shape[1::-1] if len(shape) == 2 else shape, value, np.uint8)).save(path)
            else:
                nib.save(nib.Nifti1Image(np.full(shape, value, np.uint8), np.eye(4)), path)
        return tmp_path / root

    return write
