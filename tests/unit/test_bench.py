"""Tests of the benchmark: selection, files of results, evaluation, report and test data."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bench import data, plots
from bench.contests import (
    ALL_DEFAULTS,
    CONTESTS,
    DATA,
    FIXED,
    LINKS,
    WHOLE_STREAMS,
    Cell,
    SelectionError,
    Transfer,
    select,
)
from bench.figures import Cost, Figure, Figures, FiguresError, Writer
from bench.model import CORES, Pipeline, pipelines
from bench.report import report, simple_table
from bench.stages import SENDER_ADDRESS, SOURCE, TARGET, OneStage
from bench.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PEERS = "peers, tables, 1gbit"


def figure(contender: str, seconds: float | None, *, where: str = PEERS, amount: int = 1024, number: int = 1) -> Figure:
    contest, name, link = where.split(", ")
    cost = None if seconds is None else Cost(seconds, 40 << 20 if contender.startswith(("all", "--")) else None)
    return Figure(
        contest=contest,
        data=name,
        amount=amount,
        link=link,
        contender=contender,
        round=number,
        cost=cost,
        load=0.5,
        failure="" if cost else "status 2: unrecognized arguments",
    )


def figures(*seconds: tuple[str, float | None], where: str = PEERS, amount: int = 1024) -> list[Figure]:
    return [figure(contender, took, where=where, amount=amount) for contender, took in seconds]


def verdict(*runs: Figure) -> Verdict:
    return Verdict(select(), runs)


def written(runs: Sequence[Figure], *notes: str) -> str:
    file = io.StringIO()
    writer = Writer(file)
    for note in notes:
        writer.comment(note)
    for run in runs:
        writer.write(run)
    return file.getvalue()


# --- the measurements


def names(cells: Sequence[Cell]) -> list[str]:
    return [str(cell) for cell in cells]


def test_everything_is_measured_when_nothing_is_selected() -> None:
    cells = select()
    assert {cell.contest for cell in cells} == set(CONTESTS)
    assert {cell.data for cell in cells} == set(DATA)
    assert {cell.link for cell in cells} == set(LINKS)
    assert len(set(names(cells))) == len(cells)


def test_the_peers_compete_on_three_data_sets_and_three_links() -> None:
    assert len(select(contests=["peers"])) == 9


def test_a_part_can_be_selected() -> None:
    assert names(select(contests=["peers", "small"], data=["noise"], links=["1gbit", "200mbit"])) == [
        "peers, noise, 1gbit",
        "peers, noise, 200mbit",
    ]


def test_contenders_are_selected_by_a_part_of_their_names() -> None:
    (cell,) = select(contests=["peers"], data=["tables"], links=["unshaped"], contenders=["rsync", "defaults"])
    assert [contender.name for contender in cell.contenders] == [ALL_DEFAULTS, "rsync -a", "rsync -a, sync"]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"contests": ["peer"]}, "no contest peer, only stream, checksums"),
        ({"data": ["x", "a"]}, "no data set a, x, only tables"),
        ({"links": ["10gbit"]}, "no link 10gbit, only unshaped"),
        ({"contests": ["small"], "links": ["1gbit"]}, "no contest matches"),
        ({"contenders": ["nobody"]}, "no contest matches"),
    ],
)
def test_an_unknown_selection_is_refused(selection: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        select(**selection)


@pytest.mark.parametrize("cell", select(), ids=str)
def test_a_contender_is_compared_with_others_of_its_cell(cell: Cell) -> None:
    there = [contender.name for contender in cell.contenders]
    assert len(set(there)) == len(there)
    for contender in cell.contenders:
        for comparison in contender.against:
            assert set(comparison.others) < set(there)
            assert contender.name not in comparison.others


@pytest.mark.parametrize("cell", select(contests=["peers"]), ids=str)
def test_all_defaults_and_every_fixed_compressor_compete_in_every_cell(cell: Cell) -> None:
    ours = [contender.way.options for contender in cell.contenders if isinstance(contender.way, Transfer)]
    assert ours == ["", *FIXED]


def bounds() -> set[tuple[str, str, str, float]]:
    return {
        (str(cell), contender.name, " ".join(comparison.others[:1]), comparison.limit)
        for cell in select()
        for contender in cell.contenders
        for comparison in contender.against
        if comparison.limit
    }


def test_the_bounds_are_the_required_ones() -> None:
    rsync = {(f"peers, {where}", ALL_DEFAULTS, "rsync -a") for where in ("tables, unshaped", "tables, 1gbit")}
    found = {bound[:3]: bound[3] for bound in bounds()}
    assert [found[bound] for bound in sorted(rsync, reverse=True)] == [1.0, 0.7]
    assert found["peers, tables, 200mbit", ALL_DEFAULTS, "rsync -a"] == 0.6
    assert found["peers, files, unshaped", ALL_DEFAULTS, "rsync -a"] == 0.8
    assert found["shapes, files, unshaped", ALL_DEFAULTS, "rsync -a"] == 0.8
    assert found["checksums, tables, unshaped", ALL_DEFAULTS, "--no-checksum"] == 1.3
    assert found["checksums, tables, 1gbit", ALL_DEFAULTS, "--no-checksum"] == 1.1
    assert found["checksums, tables, 1gbit", "--parallel-checksum", "--no-checksum"] == 1.1
    assert found["small, three, unshaped", ALL_DEFAULTS, "cumin --force db1,db2 true"] == 3.0
    assert [found[str(cell), "--no-compress", "rsync -a"] for cell in select(contests=["wan"])] == [0.35] * 2
    assert [found[str(cell), ALL_DEFAULTS, "rsync -a"] for cell in select(contests=["wan"])] == [0.4] * 2
    four, one = "--streams 4 --no-compress", "--streams 1 --no-compress"
    assert [found[str(cell), four, one] for cell in select(contests=["streams"])] == [1 / 3.4]
    assert [found[str(cell), ALL_DEFAULTS, FIXED[0]] for cell in select(contests=["peers"])] == [1.15] * 9


def test_an_interruption_of_ten_seconds_may_cost_twenty() -> None:
    for cell in select(contests=["outages"]):
        plain, interrupted = cell.contenders
        (comparison,) = interrupted.against
        assert comparison.others == (plain.name,)
        assert comparison.limit_at(40.0) == 1.5
        runs = figures((plain.name, 40.0), (interrupted.name, 60.5), where=str(cell))
        (broken,) = Verdict([cell], runs).broken()
        assert broken.endswith(f"1.51 times {plain.name}, but the bound is 1.5")


# --- how it is kept


def test_written_figures_are_read_unchanged(tmp_path: Path) -> None:
    runs = [
        figure(ALL_DEFAULTS, 2.5),
        figure("rsync -a", 3.125, number=2),
        replace(figure("--compressor lz4", None), failure='status 2: "quoted", with a comma'),
        replace(figure("tar | nc", 1.0), cost=Cost(1.0, None, 7 << 20)),
        replace(figure("--no-compress", 1.0), cost=Cost(1.0, processor={SOURCE: 0.5, TARGET: 2.25})),
        replace(figure("target: zstd", 1.0), cost=Cost(1.0, processor={TARGET: 0.0})),
    ]
    path = tmp_path / "some.csv"
    path.write_text(written(runs, "a machine", "a commit"))
    read = Figures.read([path])
    assert list(read.runs) == runs
    assert read.notes == ("a machine", "a commit")


def test_several_files_are_merged_without_duplicates(tmp_path: Path) -> None:
    paths = [tmp_path / "one.csv", tmp_path / "two.csv"]
    paths[0].write_text(written([figure("rsync -a", 3.0)], "a machine", "Monday"))
    paths[1].write_text(written([figure("rsync -a", 5.0)], "a machine", "Tuesday"))
    read = Figures.read(paths)
    assert [run.cost for run in read.runs] == [Cost(3.0), Cost(5.0)]
    assert read.notes == ("a machine", "Monday", "Tuesday")


def test_each_figure_is_in_the_file_before_the_next_one_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.csv"
    with Writer.opened(path) as writer:
        writer.comment("a machine")
        for number in range(1, 3):
            writer.write(figure("rsync -a", 3.0, number=number))
            assert len(Figures.read([path]).runs) == number


def test_a_run_never_writes_over_the_figures_of_another(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.touch()
    with pytest.raises(FileExistsError), Writer.opened(path):
        pass


@pytest.mark.parametrize("text", ["", "contest,seconds\nfiles,1\n", written([figure("x", 1.0)]) + "peers,tables\n"])
def test_a_file_without_figures_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(text)
    with pytest.raises(FiguresError, match=r"some\.csv"):
        Figures.read([path])
    with pytest.raises(FiguresError, match=r"other\.csv"):
        Figures.read([tmp_path / "other.csv"])


# --- the report


def test_the_median_counts_and_the_spread_is_printed() -> None:
    runs = [figure("rsync -a", seconds, number=number) for number, seconds in enumerate((9.0, 3.0, 4.0, 2.0, 5.0))]
    made = verdict(*runs, figure("rsync -a", None))
    summary = made.summary(made.cells[0], "rsync -a")
    assert summary
    assert (summary.median, summary.least, summary.most, summary.rounds) == (4.0, 2.0, 9.0, 5)


def test_a_bound_holds_up_to_its_limit() -> None:
    assert verdict(*figures((ALL_DEFAULTS, 7.0), ("rsync -a", 10.0))).broken() == []
    (broken,) = verdict(*figures((ALL_DEFAULTS, 7.1), ("rsync -a", 10.0))).broken()
    assert broken == f"{PEERS}: {ALL_DEFAULTS}: 0.71 times rsync -a, but the bound is 0.7"


def test_auto_is_held_against_the_best_of_the_fixed_choices() -> None:
    runs = figures((ALL_DEFAULTS, 5.0), (FIXED[0], 6.0), (FIXED[1], 4.0), (FIXED[2], 9.0), (FIXED[3], 8.0))
    (ratio,) = verdict(*runs).ratios()
    assert (ratio.other, ratio.value, ratio.limit, ratio.holds) == (FIXED[1], 1.25, 1.15, False)


def test_a_bound_is_not_judged_with_too_little_data() -> None:
    made = verdict(*figures((ALL_DEFAULTS, 20.0), ("rsync -a", 10.0), amount=64))
    assert [ratio.limit for ratio in made.ratios()] == [None]
    assert made.broken() == []
    assert made.unjudged() == []


def test_cells_do_not_mix() -> None:
    slow = figures((ALL_DEFAULTS, 6.0), ("rsync -a", 10.0), where="peers, tables, 200mbit")
    made = verdict(*figures((ALL_DEFAULTS, 1.0), ("rsync -a", 2.0)), *slow)
    assert {str(ratio.cell): ratio.value for ratio in made.ratios()} == {PEERS: 0.5, "peers, tables, 200mbit": 0.6}


def test_a_failure_is_printed_once_and_fails_the_benchmark() -> None:
    elsewhere = figure("--compressor lz4", None, where="peers, noise, 1gbit")
    made = verdict(*figures((ALL_DEFAULTS, 1.0), ("--compressor lz4", None)), elsewhere)
    assert made.broken() == [f"--compressor lz4: status 2: unrecognized arguments ({PEERS}; peers, noise, 1gbit)"]


def test_a_bound_without_figures_is_printed() -> None:
    made = verdict(*figures((ALL_DEFAULTS, 1.0), *((name, 1.0) for name in FIXED[1:])))
    assert made.unjudged() == [
        f"{PEERS}: the bound of {ALL_DEFAULTS} is judged without rsync -a",
        f"{PEERS}: the bound of {ALL_DEFAULTS} is judged without {FIXED[0]}",
    ]


def test_too_much_memory_breaks_the_run() -> None:
    hungry = replace(figure(ALL_DEFAULTS, 1.0), cost=Cost(1.0, 101 << 20))
    assert verdict(hungry).broken() == ["memory of transfer.py: 101 MiB, but the bound is 100 MiB"]


# --- how it is shown


def test_the_report_is_the_table_to_paste() -> None:
    runs = figures((ALL_DEFAULTS, 7.5), ("rsync -a", 10.0), ("--compressor lz4", None))
    runs += figures((ALL_DEFAULTS, 2.0), ("rsync -a", 10.0), where="peers, tables, unshaped")
    text = report(verdict(*runs), Figures(runs=tuple(runs), notes=("a machine",)))
    assert text.startswith(f"| a machine\n\n**peers**: {DATA['tables'].words.format(1024)}\n\n=====")
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert ["seconds: median (min to max)", "unshaped", "1 Gbit/s", "rounds", "memory, transfer.py"] in cells
    assert ["``all defaults``", "2.00 (2.00 to 2.00)", "7.50 (7.50 to 7.50)", "1", "40 MiB"] in cells
    assert [PEERS, "``all defaults`` to ``rsync -a``", "0.75", "0.7", "DOES NOT HOLD"] in cells
    assert ["peers, tables, unshaped", "``all defaults`` to ``rsync -a``", "0.20", "1", "holds"] in cells
    assert f"* --compressor lz4: status 2: unrecognized arguments ({PEERS})" in text


def test_the_columns_of_a_table_are_as_wide_as_their_content() -> None:
    assert list(simple_table(("a", "bcd"), [("efgh", ""), ("i", "j")])) == [
        "====  ===",
        "a     bcd",
        "====  ===",
        "efgh",
        "i     j",
        "====  ===",
    ]


def test_a_plot_is_small_and_the_same_every_time(tmp_path: Path) -> None:
    contenders = [contender.name for contender in CONTESTS["peers"].contenders("tables", "1gbit")]
    runs = [
        figure(name, 1.0 + number, where=f"peers, tables, {link}")
        for link in LINKS
        for number, name in enumerate(contenders)
    ]
    (first,) = plots.draw(verdict(*runs), tmp_path / "one")
    (second,) = plots.draw(verdict(*runs), tmp_path / "two")
    assert first.name == "peers-tables.svg"
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 100 << 10
    text = first.read_text()
    assert all(f">{words}<" in text for words in (*contenders, "1 Gbit/s", "seconds"))
    assert "dc:date" not in text


# --- the cost of the stages

STAGES = "stages, tables, unshaped"


def staged(contender: str, *, amount: int = 1024, **processor: float) -> Figure:
    return replace(figure(contender, 1.0, where=STAGES, amount=amount), cost=Cost(1.0, processor=processor))


def plain_stages(amount: int = 1024) -> list[Figure]:
    factor = amount / 1024
    return [
        staged("source: tar --create", amount=amount, source=0.5 * factor),
        staged("source: socat, not encrypted", amount=amount, source=0.4 * factor),
        staged("target: socat, not encrypted", amount=amount, target=0.4 * factor),
        staged("target: tar --extract", amount=amount, target=2.0 * factor),
        staged("--no-compress --no-encrypt", amount=amount, source=1.5 * factor, target=4.0 * factor),
    ]


def test_each_stage_runs_on_one_end_and_is_a_command_of_the_program() -> None:
    (cell,) = select(contests=["stages"])
    assert cell.metered
    ways = {contender.name: contender.way for contender in cell.contenders}
    alone = {name: way for name, way in ways.items() if isinstance(way, OneStage)}
    assert [name for name in ways if name not in alone] == list(WHOLE_STREAMS)
    for name, stage in alone.items():
        assert name.startswith(f"{stage.end}: ")
        assert stage.sending if stage.end == SOURCE else stage.receiving
        assert bool(stage.feed) is (name != "source: tar --create")
    for name in ("source: socat, TLS", "target: socat, TLS"):
        stage = alone[name]
        assert "OPENSSL:" in stage.sending
        assert f"range={SENDER_ADDRESS}/32" in stage.receiving


def test_the_report_has_the_cost_of_a_gibibyte() -> None:
    runs = plain_stages(amount=512)
    lines = [line.split("  ") for line in report(verdict(*runs), Figures(runs=tuple(runs), notes=())).splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    head = ["seconds: median (min to max)", "unshaped", "rounds", "processor s/GiB, source", "processor s/GiB, target"]
    assert head in cells
    assert ["``--no-compress --no-encrypt``", "1.00 (1.00 to 1.00)", "1", "1.50", "4.00"] in cells
    assert ["``target: tar --extract``", "1.00 (1.00 to 1.00)", "1", "2.00"] in cells


def test_the_model_names_the_limit_of_several_pipelines() -> None:
    pipeline = Pipeline(slowest="tar", slowest_cost=2.0, ends={SOURCE: 1.5, TARGET: 5.0})
    gib = 1 << 30
    assert pipeline.rate(1, CORES, 1e12) == (gib / 2, "tar")
    assert pipeline.rate(8, CORES, 1e12) == (16 * gib / 5, "processors of the target")
    rate, cause = pipeline.rate(8, CORES, 10e9)
    assert cause == "the link"
    assert 1.17e9 < rate < 1.18e9
    halved, _ = replace(pipeline, ratio=0.5).rate(8, CORES, 10e9)
    assert halved == 2 * rate


def test_the_model_needs_the_cost_of_each_stage() -> None:
    costs = {run.contender: run.cost.processor for run in plain_stages() if run.cost}
    ((options, pipeline),) = pipelines(costs)
    assert options == "--no-compress --no-encrypt"
    assert (pipeline.slowest, pipeline.slowest_cost, pipeline.ratio) == ("target: tar --extract", 2.0, 1.0)
    for name in costs:
        assert not list(pipelines({other: cost for other, cost in costs.items() if other != name}))


def test_the_report_has_the_calculated_rates() -> None:
    runs = plain_stages()
    text = report(verdict(*runs), Figures(runs=tuple(runs), notes=()))
    assert f"with {CORES} processors on each end, calculated from the costs above" in text
    assert "0.54 (target: tar --extract)" in text
    assert "1.18 (the link)" in text


# --- the data


@pytest.mark.parametrize(("name", "least", "most"), [("tables", 0.4, 0.6), ("noise", 1.0, 1.01), ("huge", 0.4, 0.6)])
def test_the_test_data_has_the_documented_compression_ratio(
    tmp_path: Path, name: str, least: float, most: float
) -> None:
    data.make(name, tmp_path / name, 4)
    files = [path for path in sorted((tmp_path, *tmp_path.rglob("*"))) if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert len(content) == 4 << 20
    assert least < len(gzip.compress(content)) / len(content) < most


def test_small_files_are_text_of_a_kibibyte_and_no_two_are_alike(tmp_path: Path) -> None:
    data.make("files", tmp_path / "files", 1500)
    contents = [path.read_bytes() for path in (tmp_path / "files").rglob("page *")]
    assert {len(content) for content in contents} == {1024}
    assert len(set(contents)) == len(contents) == 1500
    whole = b"".join(contents)
    assert 0.25 < len(gzip.compress(whole)) / len(whole) < 0.6


def test_the_sparse_file_has_ten_mebibytes_in_it(tmp_path: Path) -> None:
    data.make("sparse", tmp_path / "sparse", 1024)
    status = (tmp_path / "sparse").stat()
    assert status.st_size == 1 << 30
    assert status.st_blocks * 512 <= 11 << 20


def test_data_are_the_same_every_time(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        data.make("tables", tmp_path / place / "tables", 1)
    one, two = ([path.read_bytes() for path in sorted((tmp_path / place).rglob("*.ibd"))] for place in ("one", "two"))
    assert one == two
