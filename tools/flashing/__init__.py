"""The parts of tools/flash.py: from a configuration and MicroPython's firmware to a running board."""
