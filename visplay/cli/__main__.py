"""`python -m visplay`, where the command is not on the path."""

from visplay.cli.main import main

main()
