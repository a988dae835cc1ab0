"""Declared tables, by decade; each module is imported when a reader needs it."""
