"""From a folder of photographs to a face encoder that can be trusted."""

import os

__version__ = "0.1.0"

# Otherwise ONNX Runtime 1.32 and later sends usage data to its vendor, and leaves a device id in the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
