"""Calibration of encoders: thresholds for false accept rates."""
