"""`aleph-agentctl metrics`."""


def test_metrics_are_printed_as_they_came(daemon, cli):
    """The daemon writes them; a textfile collector wants nothing added."""
    daemon.says("metrics", {"text": "# TYPE a gauge\na 1\n", "metrics": []})
    assert cli.run("metrics") == 0
    assert cli.out == "# TYPE a gauge\na 1\n"


def test_metrics_are_data_with_json(daemon, cli):
    """One document."""
    daemon.says("metrics", {"text": "", "metrics": [{"name": "a", "samples": []}]})
    assert cli.run("metrics", "--json") == 0
    assert cli.json == {"metrics": [{"name": "a", "samples": []}]}
