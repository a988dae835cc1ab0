"""Stand-ins for a board's modules on MicroPython's unix port, and the board around them (board.py)."""
