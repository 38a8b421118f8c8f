"""Jobs: what runs when, what is tried again, what is noted and removed, and what comes after it all."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_directory import Hosts, JobDirectory, most_at_once, transfers

from transferpy.batch import jobs
from transferpy.batch.jobs import read_job_file
from transferpy.Exceptions import Interrupted, JobRunningError, UsageError
from transferpy.output.atomic_file import write_atomically


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


class TestLimits:
    def test_one_transfer_runs_at_a_time_where_nothing_else_is_said(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d"), ("e", "f")), seconds=0.2)
        assert bench.run() == 0
        assert [event[1] for event in bench.events] == ["a:/x", "a:/x", "c:/x", "c:/x", "e:/x", "e:/x"]

    def test_no_host_has_more_than_its_share_whether_source_or_target(self, bench: JobDirectory) -> None:
        pairs = (("a", "b"), ("a", "c"), ("d", "a"), ("e", "f"), ("g", "f"))
        bench.job("at_once: 9\nat_once_per_host: 1\n" + transfers(*pairs), seconds=0.3)
        assert bench.run() == 0
        assert len(bench.events) == 10
        assert most_at_once(bench.events) == 2
        assert all(most_at_once(bench.events, host) == 1 for host in "abcdefg")

    def test_a_host_that_may_have_two_has_two(self, bench: JobDirectory) -> None:
        bench.job("at_once: 3\nat_once_per_host: 2\n" + transfers(*(("a", host) for host in "bcd")), seconds=0.5)
        assert bench.run() == 0
        assert most_at_once(bench.events, "a") == 2

    def test_names_choose_transfers_and_their_order(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d"), ("e", "f")))
        assert bench.run("t2", "t0", "t2") == 0
        assert [event[1] for event in bench.events if event[0] == "begin"] == ["e:/x", "a:/x"]


class TestRetries:
    def test_a_transfer_is_tried_again_after_a_pause_and_counts_as_it_ended(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), more=", retries: 2, retry_pause: 1"), statuses={"a:/x": [6, 0]})
        assert bench.run() == 0
        times = [float(event[3]) for event in bench.events]
        assert len(times) == 4
        assert times[2] - times[1] >= 1
        assert (bench.report["status"], bench.report["transfers"][0]["attempts"]) == (0, 2)

    def test_a_dry_run_is_not_tried_again(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), more=", retries: 2, retry_pause: 60"), statuses={"a:/x": [4]})
        assert bench.run(dry_run=True) == 4
        assert bench.report["transfers"][0]["attempts"] == 1

    def test_the_status_is_that_of_the_first_in_the_file_that_failed(self, bench: JobDirectory) -> None:
        bench.job("at_once: 3\n" + transfers(("a", "b"), ("c", "d"), ("e", "f")), statuses={"c:/x": [6], "e:/x": [3]})
        assert bench.run() == 6
        assert [run["status"] for run in bench.report["transfers"]] == [0, 6, 3]

    def test_a_process_that_cannot_be_started_is_a_failure_and_no_hang(
        self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.job(transfers(("a", "b")))
        monkeypatch.setattr(jobs, "_PROGRAM", ("/nowhere/python",))
        assert bench.run() == 1
        assert "it could not be run: " in bench.report["transfers"][0]["errors"][0]

    def test_a_process_that_dies_without_a_report_is_a_failure(
        self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.job(transfers(("a", "b")))
        monkeypatch.setattr(jobs, "_PROGRAM", ("bash", "-c", "kill -KILL $$"))
        assert bench.run() == 1
        assert bench.report["transfers"][0]["errors"] == ["its process ended with status -9 and without a report"]


@pytest.fixture
def _alarm() -> Iterator[None]:
    """Make of SIGALRM what the command line tool makes of the signals that end it."""

    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
class TestSignals:
    def test_one_that_comes_in_the_pause_before_a_retry_ends_the_job_with_a_report(self, bench: JobDirectory) -> None:
        bench.job(
            transfers(("a", "b"), ("c", "d"), more=", retries: 1, retry_pause: 60"), statuses={"a:/x": [6], "c:/x": [0]}
        )
        bench.received = [signal.SIGTERM]
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        with pytest.raises(Interrupted):
            bench.run()
        assert bench.report["status"] == 143
        first, second = bench.report["transfers"]
        assert (first["status"], first["interrupted"]) == (143, "SIGTERM")
        assert (second["status"], second["interrupted"]) == (0, "")
        assert [copy["transfer"] for copy in bench.noted] == ["t1"]

    def test_one_that_comes_before_anything_began_leaves_no_old_report(
        self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def resolve_all(_word: str) -> tuple[str, ...]:
            raise Interrupted(signal.SIGTERM)

        bench.job(transfers(("a", "b")))
        monkeypatch.setattr(bench.remote, "resolve_all", resolve_all)
        with pytest.raises(Interrupted):
            bench.run()
        (run,) = bench.report["transfers"]
        assert (bench.report["status"], run["interrupted"]) == (143, "SIGTERM")
        assert bench.events == []

    def test_one_that_comes_while_a_transfer_is_at_work_waits_for_its_end(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d")), seconds=30)
        bench.received = [signal.SIGINT]
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        with pytest.raises(Interrupted):
            bench.run()
        assert [event[0] for event in bench.events] == ["begin"]
        assert [run["status"] for run in bench.report["transfers"]] == [130, 130]
        assert bench.report["transfers"][1]["errors"] == ["it did not begin"]
        with jobs._locked(bench.state, jobs._key(str(bench.directory / "j.yaml")), "j.yaml", dry=False) as lock:
            assert lock is not None  # nothing holds it any more

    def test_one_that_comes_while_a_hook_is_at_work_ends_that(self, bench: JobDirectory) -> None:
        bench.job("on_success: sleep 60\n" + transfers(("a", "b")))
        signal.setitimer(signal.ITIMER_REAL, 1)
        began = time.monotonic()
        with pytest.raises(Interrupted):
            bench.run()
        assert time.monotonic() - began < 20


class TestLock:
    def test_another_run_is_refused_while_a_transfer_of_a_killed_one_is_at_work(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b")), seconds=4)
        runner = (
            "import sys; sys.path[:0] = sys.argv[1].split(':'); from job_directory import *; from pathlib import Path\n"
            "bench = JobDirectory(Path(sys.argv[2]), None)\n"
            "jobs._PROGRAM = (sys.executable, sys.argv[2] + '/program.py')\n"
            "bench.run()\n"
        )
        words = [sys.executable, "-c", runner, ":".join(sys.path), str(bench.directory)]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as killed:
            deadline = time.monotonic() + 20
            while not bench.events and time.monotonic() < deadline:
                time.sleep(0.02)
            killed.kill()
        assert len(bench.events) == 1
        with pytest.raises(JobRunningError, match="another run of this job is still at work"):
            bench.run()
        assert (bench.report["status"], len(bench.report["transfers"])) == (12, 1)
        while len(bench.events) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        status = 0
        while time.monotonic() < deadline:
            try:
                status = bench.run()
                break
            except JobRunningError:  # its process is about to end
                time.sleep(0.02)
        assert (status, bench.report["status"], len(bench.events)) == (0, 0, 4)

    def test_no_process_of_a_transfer_hands_it_on(self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
        # As ClusterShell starts ssh: with pipes of its own, and whatever else can be inherited.
        bench.job(transfers(("a", "b")))
        child = (
            "import subprocess, sys; from subprocess import DEVNULL as null\n"
            f"exec(open({str(bench.directory / 'program.py')!r}).read())\n"
            "subprocess.Popen(['sleep', '5'], stdin=null, stdout=null, stderr=null, close_fds=False)\n"
        )
        monkeypatch.setattr(jobs, "_PROGRAM", (sys.executable, "-c", child))
        assert bench.run() == 0
        assert bench.run() == 0

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
    def test_a_state_directory_in_which_others_can_write_is_refused(self, bench: JobDirectory, mode: int) -> None:
        bench.job(transfers(("a", "b")))
        bench.state.mkdir()
        bench.state.chmod(mode)
        with pytest.raises(UsageError, match="the job cannot keep its state there: others than its owner"):
            bench.run()
        assert bench.report["status"] == 2
        assert list(bench.state.iterdir()) == []

    def test_a_dry_run_neither_takes_it_nor_makes_anything(self, bench: JobDirectory) -> None:
        bench.job("on_success: touch " + str(bench.directory / "hooked") + "\n" + transfers(("a", "b")))
        assert bench.run(dry_run=True) == 0
        assert not bench.state.exists()
        assert not (bench.directory / "hooked").exists()

    def test_a_dry_run_speaks_of_no_success(self, bench: JobDirectory, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        bench.job(transfers(("a", "b")))
        assert bench.run(dry_run=True) == 0
        assert ": 1 of 1 transfer(s) can be made, says the dry run that took " in caplog.messages[-1]
        assert "succeeded" not in caplog.text


class TestOldCopies:
    def test_all_that_is_known_of_a_copy_is_noted_once(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b")))
        assert bench.run() == bench.run() == 0
        (copy,) = bench.noted
        today = copy.pop("path").removeprefix("/srv/")
        assert time.strptime(today, "%Y-%m-%d")
        assert copy == {"transfer": "t0", "host": "b", "template": "/srv/{date}", "inode": 7, "born": 8, "holds": "x"}

    def test_they_go_after_a_success_only(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d"), more=", keep: 1"), statuses={"a:/x": [0, 6]})
        bench.remote = Hosts(lambda _: ["kept"])
        assert bench.run() == 0
        assert len(bench.remote.removals) == 2
        assert bench.run() == 6
        assert len(bench.remote.removals) == 3

    def test_one_that_is_gone_or_not_ours_any_more_is_forgotten(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d"), ("e", "f"), more=", keep: 1"))
        fates = iter(["gone", "other", "shared"])
        bench.remote = Hosts(lambda _: [next(fates)])
        assert bench.run() == 0
        assert bench.noted == []

    def test_a_host_that_does_not_answer_is_an_error_in_the_log(
        self, bench: JobDirectory, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench.job(transfers(("a", "b"), more=", keep: 1"))
        assert bench.run() == 11
        assert "[t0] old copies cannot be removed: b: status 1: no such thing" in caplog.text
        assert len(bench.noted) == 1

    def test_a_signal_while_it_is_noted_what_was_made_does_not_lose_that(
        self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.job(transfers(("a", "b"), more=", keep: 1"))

        def interrupt(*_: object, **__: object) -> None:
            monkeypatch.setattr(jobs, "write_atomically", write_atomically)
            raise Interrupted(signal.SIGTERM)

        monkeypatch.setattr(jobs, "write_atomically", interrupt)
        with pytest.raises(Interrupted):
            bench.run()
        assert [copy["host"] for copy in bench.noted] == ["b"]

    def test_a_slash_at_the_end_of_a_target_is_not_noted(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), more=", keep: 1").replace("{date}", "{date}//"))
        bench.remote = Hosts(lambda _: ["kept"])
        assert bench.run() == 0
        assert not bench.noted[0]["path"].endswith("/")
        assert bench.noted[0]["template"] == "/srv/{date}//"

    def test_a_list_that_is_damaged_is_an_error_and_nothing_is_removed(
        self, bench: JobDirectory, caplog: pytest.LogCaptureFixture
    ) -> None:
        bench.job(transfers(("a", "b"), more=", keep: 1"))
        bench.remote = Hosts(lambda _: ["kept"])
        assert bench.run() == 0
        (ledger,) = bench.state.glob("*.json")
        ledger.write_text("{")
        before = len(bench.remote.removals)
        assert bench.run() == 11
        assert "what the job has made cannot be noted" in caplog.text
        assert len(bench.remote.removals) == before
        assert bench.report["status"] == 0

    def test_a_list_that_cannot_be_written_after_it_is_an_error(
        self, bench: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.job(transfers(("a", "b"), more=", keep: 1"))

        def answer(_script: str) -> list[str]:
            monkeypatch.setattr(jobs, "write_atomically", refuse)
            return ["kept"]

        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        bench.remote = Hosts(answer)
        assert bench.run() == 11


class TestHooks:
    def hook(self, bench: JobDirectory, words: str) -> int:
        bench.job(f"on_success: {words}\n" + transfers(("a", "b")))
        return bench.run()

    def test_it_gets_the_report(self, bench: JobDirectory) -> None:
        assert self.hook(bench, f"tee {bench.directory}/hooked") == 0
        assert json.loads((bench.directory / "hooked").read_text()) == bench.report

    def test_it_need_not_read_it(self, bench: JobDirectory) -> None:
        assert self.hook(bench, "sh -c 'exec <&-; exit 0'") == 0

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ("false", "the hook false failed with status 1"),
            ("sh -c 'kill -TERM $$'", "the hook sh was ended by signal 15"),
            ("/nowhere/hook", "the hook /nowhere/hook could not be run: No such file or directory\n"),
        ],
    )
    def test_one_that_fails_is_an_error_of_its_own(
        self, bench: JobDirectory, caplog: pytest.LogCaptureFixture, words: str, expected: str
    ) -> None:
        assert self.hook(bench, words) == 11
        assert expected in caplog.text
        assert bench.report["status"] == 0

    def test_one_that_hangs_is_killed_with_all_that_it_started(
        self, bench: JobDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "_HOOK_TIME", 0.5)
        assert self.hook(bench, f"sh -c 'sleep 60 & echo $! >{bench.directory}/pid; wait'") == 11
        assert "the hook sh was killed after 0.5 s" in caplog.text
        pid = int((bench.directory / "pid").read_text())
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":  # its new parent has not looked yet
                break
            time.sleep(0.02)
        else:
            assert not Path(f"/proc/{pid}").exists()

    def test_one_that_leaves_something_in_the_background_is_not_waited_for(
        self, bench: JobDirectory, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        began = time.monotonic()
        assert self.hook(bench, "sh -c 'echo said; sleep 7 & exit 0'") == 0
        assert time.monotonic() - began < 6
        assert "sh: said" in caplog.messages

    def test_it_is_not_at_the_terminal_of_the_job(self, bench: JobDirectory) -> None:
        assert self.hook(bench, f"sh -c 'ps -o sid= -p $$ >{bench.directory}/sid'") == 0
        assert int((bench.directory / "sid").read_text()) != os.getsid(0)


class TestFiles:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("transfers: [", "line 2: no YAML: "),
            ("x" * (1 << 20), "the job file cannot be read: it has more than 1048576 characters"),
        ],
    )
    def test_one_that_is_refused_leaves_no_old_report_in_its_place(
        self, bench: JobDirectory, text: str, expected: str
    ) -> None:
        bench.job(text)
        (bench.directory / "report.json").write_text("{}")
        with pytest.raises(UsageError):
            bench.run()
        assert bench.report["status"] == 2
        assert expected in bench.report["transfers"][0]["errors"][0]

    def test_one_that_is_not_there_is_named_once(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=f"^{tmp_path}/x: the job file cannot be read: No such file or directory$"):
            read_job_file(str(tmp_path / "x"))

    def test_a_name_that_is_none_is_refused_with_those_there_are(self, bench: JobDirectory) -> None:
        bench.job(transfers(("a", "b"), ("c", "d")))
        with pytest.raises(UsageError, match="no transfer is called x; the file has t0, t1"):
            bench.run("x")


def test_what_a_transfer_says_has_its_name(bench: JobDirectory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.job(transfers(("a", "b")))
    assert bench.run() == 0
    assert "[t0] said" in caplog.messages
    assert threading.active_count() < 20
