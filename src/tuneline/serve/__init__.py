"""Use it: runtimes, the router, OpenAI wire shapes and packages."""
