"""The real client, in the flows its users have."""


def test_a_pipeline_function_is_run_and_waited_for(url, sdk):
    run = sdk("run_from_function", url)
    print(run)
    assert 0
