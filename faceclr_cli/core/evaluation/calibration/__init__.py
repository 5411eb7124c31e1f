"""Thresholds for false accept rates: `calibrate`."""
