"""The Cloud of the Open Meter Data Platform: ingress, storage, custody (CPython only)."""
