"""`python -m tapir` is the `tapir` command."""

from tapir.app.cli.main import main

if __name__ == "__main__":
    main()
