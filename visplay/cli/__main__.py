"""`python -m visplay.cli`, where the command is not on the path."""

from visplay.cli.main import main

main()
