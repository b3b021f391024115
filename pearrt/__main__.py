"""`python -m pearrt`."""

from pearrt.cli.main import main

if __name__ == "__main__":
    main()
