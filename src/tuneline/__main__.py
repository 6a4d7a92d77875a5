"""`python -m tuneline`: the same commands, for whoever has no `tuneline` on the path."""

from tuneline.cli import main

if __name__ == "__main__":
    main()
