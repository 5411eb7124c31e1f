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
# In a folder of $fpath, the file is the body of a function that zsh calls for each word. It may be sourced as well.
_COMPLETES_OR_REGISTERS = f"""if [[ $funcstack[1] == _faceclr ]]; then
  _faceclr_completion "$@"
else
  {_REGISTERS}
fi"""

_RETURNS = "    return 0\n"
# bash would take a folder with a space in its name for two words.
_QUOTES = '    (( ${#COMPREPLY[@]} == 0 )) || mapfile -t COMPREPLY < <(printf "%q\\n" "${COMPREPLY[@]}")\n'


def script(shell: str) -> str:
    """The script of a shell."""
    environment = {**os.environ, "_FACECLR_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "faceclr_cli"]
    made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    made = made.replace(_REGISTERS, _COMPLETES_OR_REGISTERS).replace(_RETURNS, _QUOTES + _RETURNS)
    # zsh looks for #compdef in the very first line.
    return made.strip() + "\n"


if __name__ == "__main__":
    for shell, name in FILES.items():
        Path(__file__).with_name(name).write_text(script(shell), encoding="utf-8")
