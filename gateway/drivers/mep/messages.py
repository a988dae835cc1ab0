"""Response codes that only MEP has; the rest is C12.18 (MEP guide, chapter 2, table 2.7)."""

AUTHENTICATION_FAILURE = 0x0B
INVALID_SEQUENCE = 0x0C
