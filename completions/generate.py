"""Writes the completion scripts beside this file, as the installed program makes them.

python completions/generate.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {"bash": "faceclr.bash", "zsh": "_faceclr", "fish": "faceclr.fish"}
_REGISTERS = "compdef _faceclr_completion faceclr"
# zsh loads the file when the first word is completed: then it must complete that word too, and not only the next.
_COMPLETES_OR_REGISTERS = f"""if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _faceclr_completion "$@"
else
  {_REGISTERS}
fi"""


def script(shell: str) -> str:
    """The script of a shell."""
    environment = {**os.environ, "_FACECLR_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "faceclr_cli"]
    made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    # zsh looks for #compdef in the very first line.
    return made.strip().replace(_REGISTERS, _COMPLETES_OR_REGISTERS) + "\n"


if __name__ == "__main__":
    for shell, name in FILES.items():
        Path(__file__).with_name(name).write_text(script(shell), encoding="utf-8")
