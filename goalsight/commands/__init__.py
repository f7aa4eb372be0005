"""The roof: the command line, and the commands that belong to no room."""
