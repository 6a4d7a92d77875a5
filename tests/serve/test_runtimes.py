"""Which runtime's proof counts for which."""

from tuneline.serve.runtimes import KINDS, proven_by


def test_what_runs_on_a_cluster_is_proven_with_transformers_and_all_else_with_itself():
    assert proven_by("vllm", here=False) == "transformers"
    assert [proven_by(name, here=True) for name in KINDS] == list(KINDS)
