"""`tps`, and `python -m tps`."""

import signal


def main() -> None:
    """Run the command line; an interrupt while it is still being read ends it without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tps.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
