"""How much the MEP property tests try: the same examples each time, few enough for every run."""

from hypothesis import settings

FEW = settings(max_examples=60, derandomize=True, deadline=None, database=None)
MANY = settings(max_examples=400, derandomize=True, deadline=None, database=None)
