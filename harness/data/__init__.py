"""Data sources: find, decode, group and fingerprint a task's images."""
