"""`offerhub completion`: scripts that the shells take, with the commands in them."""

import shutil
import subprocess

import pytest

from offerhub.cli.completion import completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion(shell)  # type: ignore[arg-type]
    script = capsys.readouterr().out
    assert all(word in script for word in ("doctor", "backup", "wallets", "rotate", "json"))


def test_bash_completes_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    completion("bash")
    script = capsys.readouterr().out
    typed = 'COMP_WORDS=(offerhub wallets ro); COMP_CWORD=2; _offerhub; echo "${COMPREPLY[@]}"'
    done = subprocess.run([bash, "-c", f"{script}\n{typed}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "rotate"
