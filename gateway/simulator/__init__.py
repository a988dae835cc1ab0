"""A virtual OSGP meter: the server's side of MEP over tables that live, for tests, demos and development.

It is written from the guides alone and shares nothing with drivers and tables but the clock and the errors,
so that a misreading of a guide shows as a difference. `meter.VirtualMeter` is the meter, `listen.serve_tcp`
and `listen.serve_pty` give it a line, `command.simulate` is the command. CPython only.
"""
