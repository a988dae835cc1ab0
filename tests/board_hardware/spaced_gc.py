"""Stands in for `gc` where work is counted: objects take twice a board's bytes here, so collections come
after twice as many."""

import gc
from gc import collect, mem_alloc, mem_free  # noqa: F401 - what else the application uses


def threshold(size):
    gc.threshold(2 * size)
