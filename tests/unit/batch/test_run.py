"""A run of a job: dry runs, refusals, and the removal of old copies after the transfers."""

import logging
from pathlib import Path

import pytest
from job_directory import Hosts, JobDirectory, transfers

from transferpy.batch import registry
from transferpy.Exceptions import UsageError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_a_dry_run_takes_no_lock_and_runs_no_hook(directory: JobDirectory) -> None:
    directory.write("on_success: touch " + str(directory.path / "hooked") + "\n" + transfers(("a", "b")))
    assert directory.run(dry_run=True) == 0
    assert not directory.state.exists()
    assert not (directory.path / "hooked").exists()


def test_a_dry_run_logs_no_success(directory: JobDirectory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    directory.write(transfers(("a", "b")))
    assert directory.run(dry_run=True) == 0
    assert ": dry run: 1 of 1 transfer(s) passed all checks in " in caplog.messages[-1]
    assert "succeeded" not in caplog.text


def test_old_copies_are_removed_only_after_a_success(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), more=", keep: 1"), statuses={"a:/x": [0, 6]})
    directory.remote = Hosts(lambda _: ["kept"])
    assert directory.run() == 0
    assert len(directory.remote.removals) == 2
    assert directory.run() == 6
    assert len(directory.remote.removals) == 3


def test_a_copy_that_does_not_exist_or_belongs_to_someone_else_loses_its_record(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), ("e", "f"), more=", keep: 1"))
    results = iter(["gone", "other", "shared"])
    directory.remote = Hosts(lambda _: [next(results)])
    assert directory.run() == 0
    assert directory.records == []


def test_a_host_that_cannot_prune_is_an_error_in_the_log(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    assert directory.run() == 11
    assert "[t0] old copies cannot be removed: b: status 1: no such thing" in caplog.text
    assert len(directory.records) == 1


def test_a_host_that_answers_nonsense_is_an_error_in_the_log(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    directory.remote = Hosts(lambda _: ["$(reboot)"])
    assert directory.run() == 11
    assert "[t0] old copies cannot be removed: b: pruning returned a malformed event 'pruned'" in caplog.text
    assert len(directory.records) == 1


def test_a_registry_that_cannot_be_written_after_pruning_is_an_error(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))

    def answer(_script: str) -> list[str]:
        monkeypatch.setattr(registry, "write_atomically", refuse)
        return ["kept"]

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    directory.remote = Hosts(answer)
    assert directory.run() == 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("transfers: [", "line 2: invalid YAML: "),
        ("x" * (1 << 20), "the job file cannot be read: it has more than 1048576 characters"),
    ],
)
def test_a_refused_job_replaces_the_old_report(directory: JobDirectory, text: str, expected: str) -> None:
    directory.write(text)
    (directory.path / "report.json").write_text("{}")
    with pytest.raises(UsageError):
        directory.run()
    assert directory.report["status"] == 2
    assert expected in directory.report["transfers"][0]["errors"][0]


def test_an_unknown_transfer_is_refused_with_the_names_in_the_file(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d")))
    with pytest.raises(UsageError, match="unknown transfer x; the transfers are t0, t1"):
        directory.run("x")
