from __future__ import annotations

import json

from fastrtc.bench.report import as_json, heading, sentences, table
from tests.bench.loads import load, result


def test_the_table_has_a_row_for_each_load_in_columns() -> None:
    lines = table(result(load(1), load(10))).splitlines()
    assert lines[0].split()[0] == "calls"
    assert " ".join(lines[1].split()) == "1 2 % 2.00 % - 0.00 % 1.0 ms 73 / 82 ms 0"
    assert len({len(line) for line in lines}) == 1


def test_the_streams_of_others_have_no_column_of_delay() -> None:
    lines = table(result(load(1, back=None, delay=None), target="app:stream")).splitlines()
    assert "median" not in lines[0]


def test_how_many_calls_were_carried_is_said_with_the_first_that_was_too_much() -> None:
    said = sentences(result(load(1), load(20), load(40, late=0.3)))
    assert said[0] == (
        "One core of this machine carried 20 calls with under 1 % of packets over 60 ms late; "
        "40 were too many."
    )
    assert said[1] == "Each of 20 calls cost 2.00 % of a core."
    assert said[2] == "The server with its first call took 150 MB, and each further one 1.25 MB."


def test_where_all_were_carried_the_most_that_was_tried_is_no_limit() -> None:
    assert sentences(result(load(1), load(20)))[0].endswith("late; more were not tried.")


def test_where_none_were_carried_that_is_said() -> None:
    assert "did not carry 1 call " in sentences(result(load(1, late=0.5)))[0]


def test_a_load_that_the_callers_could_not_make_says_nothing() -> None:
    measured = result(load(1), load(40, callers_late=0.03, late=0.5))
    assert "the callers were the bottleneck" in table(measured).splitlines()[2]
    said = sentences(measured)
    assert "carried 1 call " in said[0]
    assert said[-1].startswith("Where the callers were the bottleneck")
    assert (
        sentences(result(load(40, callers_late=0.03)))[0] == "Nothing can be said of this machine."
    )


def test_what_was_not_carried_while_other_programs_had_the_core_says_nothing() -> None:
    measured = result(load(1, others=0.02), load(10, others=0.45, late=0.5))
    assert table(measured).splitlines()[2].endswith("says nothing: other programs had the core")
    said = sentences(measured)
    assert said[0].endswith("; no more is known.")
    assert said[-1].startswith("Where other programs had the core for over 10 %")


def test_what_was_carried_in_spite_of_other_programs_was_carried() -> None:
    measured = result(load(1), load(10, others=0.45))
    assert "says nothing" not in table(measured)
    assert "carried 10 calls" in sentences(measured)[0]


def test_fewer_calls_that_were_late_are_other_works_doing() -> None:
    assert "Measure again" in sentences(result(load(1, late=0.1), load(9)))[1]


def test_why_a_measurement_ended_early_is_said_first() -> None:
    assert sentences(result(load(1), ended="The server took 1 call: full"))[0].endswith("full")


def test_without_pinning_nothing_is_said_of_one_core() -> None:
    measured = result(load(1), core=None)
    assert "no process pinned" in heading(measured)
    assert sentences(measured)[0].startswith("This machine carried")


def test_the_memory_of_a_few_calls_is_not_told_from_noise() -> None:
    assert sentences(result(load(2, memory=-3e6)))[-1].endswith("took 150 MB.")


def test_what_was_measured_is_json() -> None:
    read = json.loads(json.dumps(as_json(result(load(1), load(40, callers_late=0.1)))))
    assert read["carried"] == 1
    assert [step["doubt"] is None for step in read["steps"]] == [True, False]
    assert read["steps"][0]["delay"]["median"] == 0.073
