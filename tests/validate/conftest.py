"""The installed CPU kernels, and one thread for them."""

from __future__ import annotations

import pytest

from qcuda.errors import BackendUnavailable
from qcuda.kernels import native
from qcuda.validate.kernels import Kernel, one_thread, torch_kernel


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """The installed CPU kernels."""
    try:
        native.library()
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return torch_kernel()


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield
