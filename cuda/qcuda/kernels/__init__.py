"""The kernels: their C ABI, the libraries that hold them, and torch operators on them."""
