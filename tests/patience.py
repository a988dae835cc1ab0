"""How long a test waits for what should come, and only then says that it did not.

As long as a machine may take that does much else besides: it costs nothing while all is well, and the limit
that pytest has for each test is longer.
"""

PATIENCE_S = 120
