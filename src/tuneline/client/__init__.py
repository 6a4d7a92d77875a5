"""The HTTP client of the server's API: what the command line and steps in a pod use."""
