"""Readers: each gives what one kind of table says, as the transmission's model objects."""
