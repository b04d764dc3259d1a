"""Commands to suggest to the user."""

from shlex import quote

from applications.settings.options import RunConfig


def check_command(config: RunConfig, *more: str) -> str:
    """Return the command that looks at the same images, in the same splits."""
    usual = RunConfig()

    def splitting(of: RunConfig) -> dict[str, object]:
        names = ("val_share", "test_share", "fold", "group_by")
        return {"seed": of.split_seed, **{name: getattr(of.data, name) for name in names}}

    given, before = splitting(config), splitting(usual)
    changed = [f"--{name} {quote(str(value))}" for name, value in given.items() if value != before[name]]
    return " ".join(["python main.py --check", *more, f"--data {quote(config.data.data)}", *changed])
