"""What the board's firmware runs first: puts the application that is to run on the module path."""

import slots

slots.choose()
