"""Fit probes: every readout, all sites at once, and what is done to features before."""
