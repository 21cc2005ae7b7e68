"""A small world of made-up programming problems, for a quickstart that needs neither a download nor a GPU."""
