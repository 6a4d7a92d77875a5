"""Kubeflow Pipelines' REST API (v2beta1) over `actions.Platform`: their wire shapes, nothing decided.

`app.py` joins the routes and is mounted at /apis; `call.py` is what a handler is given; `wire.py` has times,
numbers and strict JSON; `messages.py` reads request bodies; `errors.py` writes errors. One file a resource.
"""
