"""`offerhub completion`: the shell completes commands and flags."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completion script of a shell, such as `source <(offerhub completion bash)` in ~/.bashrc.

    Parameters
    ----------
    shell
        For zsh write it to `_offerhub` in a folder of `$fpath`, for fish to
        `~/.config/fish/completions/offerhub.fish`.
    """
    # The script is made from the commands themselves, which are all loaded for it.
    from offerhub.cli.main import app

    print(app.generate_completion(shell=shell))
