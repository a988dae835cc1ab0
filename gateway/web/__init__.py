"""The page's server without I/O: HTTP, names in set-up, who may look, and the API (docs/page.md)."""
