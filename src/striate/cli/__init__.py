"""The command line: one file per verb, each parses, calls the workflow of its name, and shows the result."""
