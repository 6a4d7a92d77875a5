"""The server's HTTP edge: our API and pages."""
