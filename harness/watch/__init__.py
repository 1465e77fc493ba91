"""What the layers carry: probes, floors, checks."""
