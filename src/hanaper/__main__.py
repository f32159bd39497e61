"""`python -m hanaper`: the command line without the console script."""

from hanaper.cli.main import main

main()
