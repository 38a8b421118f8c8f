"""Job files: their values, and the line of each problem."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferpy.batch.job_file import JobFileError, parse_job_file, read_job_file
from transferpy.Exceptions import UsageError

ROOT = Path(__file__).parents[3]
TRANSFER = "transfers:\n  db1:\n    source: db1:/srv/x\n    targets: db2:/srv/{date}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(JobFileError) as refused:
        parse_job_file(text, "j.yaml")
    assert all(problem.startswith("j.yaml: ") for problem in refused.value.problems)
    return [problem.removeprefix("j.yaml: ") for problem in refused.value.problems]


def test_the_example_in_the_manual_is_a_valid_job_file() -> None:
    job = parse_job_file((ROOT / "docs/examples/nightly.yaml").read_text(), "nightly.yaml")
    assert [transfer.name for transfer in job.transfers] == ["db1", "db2", "db3"]
    assert (job.at_once, job.at_once_per_host, job.on_success) == (2, 1, ())
    curl = ("curl", "--fail", "--silent", "--show-error", "--data-binary", "@-")
    assert job.on_failure == (*curl, "https://alerts.example.org/hook?job=nightly")
    for transfer in job.transfers:
        assert (transfer.retries, transfer.retry_pause, transfer.keep) == (3, 300, 7)
        expected = {"transfer_type": "xtrabackup", "stop_slave": True, "prepare": True, "create_target": True}
        assert transfer.options == expected


def test_a_mounted_disk_and_one_file_system_can_be_demanded_of_each_transfer() -> None:
    text = "defaults: {require_mount: true}\n" + TRANSFER + "    one_file_system: true\n"
    (transfer,) = parse_job_file(text, "j.yaml").transfers
    assert transfer.options == {"require_mount": True, "one_file_system": True, "create_target": True}


def test_the_keys_of_a_transfer_override_the_defaults() -> None:
    text = "defaults: {compress: off, port: 4444, stop_slave: true}\n" + TRANSFER + "    port: 4445\n    keep: 3\n"
    (transfer,) = parse_job_file(text, "j.yaml").transfers
    assert transfer.options == {"compress": False, "port": 4445, "create_target": True}
    assert (transfer.keep, transfer.retries, transfer.retry_pause) == (3, 0, 60)


def test_targets_are_one_or_a_list() -> None:
    text = "transfers: {a: {source: 'db1:/x', targets: ['db2:/srv', 'db[3-4]:/srv']}}"
    (transfer,) = parse_job_file(text, "j.yaml").transfers
    assert [str(target) for target in transfer.targets] == ["db2:/srv", "db[3-4]:/srv"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty; the key transfers is required"),
        ("- a\n", "line 1: the job must be a mapping of keys to values"),
        ("transfers:\n", "line 1: transfers must be a mapping of keys to values"),
        ("transfers: {}\n", "line 1: the job has no transfers"),
        ("at_once: 2\n", "line 1: the job has no transfers"),
        ("at_once: 2\nat_once: [1\n", "line 3: invalid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: &a [*a]\n" + TRANSFER, "line 1: unknown key 'a' in the job; the keys are at_once, at_once_per_host, "),
        ("defaults: &a {port: *a}\n" + TRANSFER, "line 1: port must be a single value"),
        ("transfers: &a\n  db1: *a\n", "line 2: unknown key 'db1' in the transfer db1; the keys are source, targets, "),
        (TRANSFER + "    colour: red\n", "line 5: unknown key 'colour' in the transfer db1; the keys are source, "),
        (TRANSFER + "    verbose: true\n", "line 5: unknown key 'verbose' in the transfer db1; the keys are "),
        (TRANSFER + "    {a: b}: c\n", "line 5: unknown key '' in the transfer db1; the keys are "),
        (TRANSFER + "    source: db3:/x\n", "line 5: source is set twice in the transfer db1"),
        (TRANSFER + "    port: 70000\n", "line 5: port must be a whole number from 0 to 65535, not '70000'"),
        (TRANSFER + "    port: [1]\n", "line 5: port must be a single value"),
        (TRANSFER + "    type: tape\n", "line 5: type must be one of file, xtrabackup, decompress, not 'tape'"),
        (
            TRANSFER + "    stop_slave: yes\n",
            "line 3: the transfer db1: stop_slave needs the transfer type xtrabackup, ",
        ),
        (TRANSFER + "    retries: -1\n", "line 5: retries must be a whole number from 0 to 100, not '-1'"),
        (TRANSFER + "    keep: 0\n", "line 5: keep must be a whole number from 1 to 100000, not '0'"),
        (TRANSFER + "at_once: many\n", "line 5: at_once must be a whole number from 1 to 100, not 'many'"),
        (TRANSFER + "state_directory: x\n", "line 5: state_directory must be an absolute path"),
        (TRANSFER + "on_success: \"it's\n", "line 6: invalid YAML: found unexpected end of stream"),
        (TRANSFER + "on_success: it's\n", "line 5: on_success: No closing quotation"),
        (TRANSFER + 'on_success: "a \\0"\n', "line 5: on_success contains a NUL character or a lone surrogate"),
        (TRANSFER + 'state_directory: "/\\uD800"\n', "line 5: state_directory contains a NUL character or a lone "),
        ("transfers: {<<: {a: b}}\n", "line 1: invalid transfer name '<<': "),
        (TRANSFER + "    <<: {port: 1}\n", "line 5: unknown key '<<' in the transfer db1; the keys are "),
        (TRANSFER + "\tport: 1\n", "line 5: invalid YAML: "),
        (TRANSFER + "---\n" + TRANSFER, "line 5: invalid YAML: but found another document"),
        (TRANSFER + "    1: x\n", "line 5: unknown key '1' in the transfer db1; the keys are "),
        (TRANSFER + "on_success: ''\n", "line 5: on_success needs a command"),
        ("transfers: {../x: {source: 'a:/b', targets: 'c:/d'}}", "line 1: invalid transfer name '../x': use "),
        ("transfers: {a: {source: 'a:/b'}}", "line 1: the transfer a has no targets"),
        ("transfers: {a: {targets: []}}", "line 1: the transfer a has no source"),
        ("transfers: {a: {source: 'a:/b', targets: []}}", "line 1: targets needs at least one HOST:PATH"),
        ("transfers: {a: {source: [a], targets: 'c:/d'}}", "line 1: source must be a single value"),
        ("transfers: {a: {source: 'a:/b', targets: ['']}}", "line 1: the transfer a: a:/b: no target to copy to"),
        ("transfers: {a: {source: 'a', targets: 'c:/d'}}", "line 1: source: 'a' is not HOST:PATH: there is no colon"),
        ("transfers: {a: {source: 'a:/', targets: 'c:/d'}}", "line 1: the transfer a: a:/: this source path has no "),
    ],
)
def test_an_invalid_job_file_is_refused_with_the_line_of_the_problem(text: str, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/{dat}", "unknown placeholder {dat}; the placeholders are {date}, {time}, {name}"),
        ("/srv/{}", "unknown placeholder {}; the placeholders are"),
        ("/srv/{date.__class__}", "unknown placeholder {date.__class__}; the placeholders are"),
        ("/srv/{date!r:>1000000000}", "unknown placeholder {date!r:>1000000000}; the placeholders are"),
        ("/srv/{HOME}", "unknown placeholder {HOME}; the placeholders are"),
        ("/srv/{{date}}", "unbalanced brace"),
        ("/srv/{date", "unbalanced brace"),
        ("/srv/../etc/{date}", "the target path of a job must be absolute and must not contain .."),
        ("srv/{date}", "the target path of a job must be absolute and must not contain .."),
        ("/srv/{date}/..", "the target path of a job must be absolute and must not contain .."),
    ],
)
def test_an_invalid_target_path_is_refused(path: str, expected: str) -> None:
    text = f"transfers:\n  a:\n    source: a:/b\n    targets:\n      - c:/d\n      - 'c:{path}'\n"
    assert any(problem.startswith(f"line 6: {path}: {expected}") for problem in problems(text))


def test_keep_requires_a_different_target_directory_for_each_copy() -> None:
    text = "defaults: {keep: 2}\ntransfers:\n  a: {source: 'a:/b', targets: 'c:/{date}/x'}\n"
    (problem,) = problems(text)
    assert (
        problem == "line 3: /{date}/x: with keep, the last component of the target path must contain {date} or {time}"
    )


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    text = "colour: red\n" + TRANSFER + "    port: x\n    keep: y\n"
    assert [problem.partition(":")[0] for problem in problems(text)] == ["line 1", "line 6", "line 7"]


@pytest.mark.parametrize("text", ["!!python/object/apply:os.system ['touch gone']", "[" * 100_000, "a: !x b", "\0"])
def test_yaml_with_tags_or_deep_nesting_is_refused(text: str) -> None:
    assert problems(text)
    assert not Path("gone").exists()


@given(text=st.text())
def test_any_text_is_a_valid_job_file_or_refused(text: str) -> None:
    with pytest.raises(JobFileError):
        parse_job_file(text, "j.yaml")


def test_the_error_for_a_missing_file_names_it_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path}/x: the job file cannot be read: No such file or directory$"):
        read_job_file(str(tmp_path / "x"))


def test_a_problem_in_the_defaults_is_reported_once() -> None:
    text = "defaults: {port: x, retries: y}\ntransfers:\n" + "".join(
        f"  {name}: {{source: 'a:/b', targets: 'c:/d'}}\n" for name in ("t0", "t1")
    )
    assert [problem.partition(" must")[0] for problem in problems(text)] == ["line 1: port", "line 1: retries"]


def test_the_retries_of_a_job_are_transfers_and_not_the_connections_of_a_stream() -> None:
    text = "transfers:\n  a: {source: 'db1:/srv/x', targets: 'db2:/srv/y', retries: 0}\n"
    (transfer,) = parse_job_file(text, "job.yaml").transfers
    assert transfer.retries == 0
    assert "retries" not in transfer.options
