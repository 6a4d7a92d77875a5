"""Make it happen: the local runner, its child processes, their files and its use of the cache."""
