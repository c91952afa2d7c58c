"""`python -m flowgauge` is the command line."""

from flowgauge.cli import main

if __name__ == "__main__":
    main()
