"""The local runner: one thread in the server's process that executes runs as child processes.

How to use it (all methods may be called from any thread; none of them waits for a task):

    runner = Runner(sink, source, cache, settings, server_url="http://127.0.0.1:8080")
    runner.start_thread()
    runner.start(run_id, ir, parameters, lease)    # new, or left by a server that died: its events say which
    runner.cancel(run_id, by="ann")
    runner.retry(run_id, ir, parameters, lease, by="ann")
    runner.stop()                                  # tasks live on under their shims; the next `start` adopts
    them

On a restart call `start` with a fresh lease for every run that has not ended; there is no other recovery
step.
"""
