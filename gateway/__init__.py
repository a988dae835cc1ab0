"""OSGP smart-meter gateway: one core for CPython and MicroPython."""
