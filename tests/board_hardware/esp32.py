"""Stands in for MicroPython's `esp32`, as far as the application uses it."""

HEAP_DATA = 4


def idf_heap_info(capabilities):
    """Total, free, largest free block and least free so far, of each region."""
    return [(131072, 90112, 65536, 81920), (16384, 8192, 8192, 8192)]
