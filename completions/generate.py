"""Generates the completion scripts beside this file with the installed program.

python completions/generate.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {"bash": "faceclr.bash", "zsh": "_faceclr", "fish": "faceclr.fish"}
_REGISTERS = "compdef _faceclr_completion faceclr"
# In a folder of $fpath, zsh calls the file as a function for each word. The file can also be sourced.
_COMPLETES_OR_REGISTERS = f"""if [[ $funcstack[1] == _faceclr ]]; then
  _faceclr_completion "$@"
else
  {_REGISTERS}
fi"""

_RETURNS = "    return 0\n"
# bash would split a folder name at a space.
_QUOTES = '    (( ${#COMPREPLY[@]} == 0 )) || mapfile -t COMPREPLY < <(printf "%q\\n" "${COMPREPLY[@]}")\n'


def script(shell: str) -> str:
    """Returns the completion script of a shell."""
    environment = {**os.environ, "_FACECLR_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "faceclr_cli"]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    output = output.replace(_REGISTERS, _COMPLETES_OR_REGISTERS).replace(_RETURNS, _QUOTES + _RETURNS)
    # zsh requires #compdef in the first line.
    return output.strip() + "\n"


if __name__ == "__main__":
    for shell, name in FILES.items():
        Path(__file__).with_name(name).write_text(script(shell), encoding="utf-8")
