"""After an outage of the database nobody is taken for dead before they could show that they live."""

from __future__ import annotations

from devflow.worker.beats import Beats


def test_heartbeats_are_believed_while_the_database_answers() -> None:
    beats = Beats(10, now=100)
    assert [beats.are_believed(now) for now in (106, 109, 119)] == [True, True, True]


def test_who_has_just_come_gives_the_others_time_to_show_that_they_live() -> None:
    beats = Beats(10, now=100)
    assert [beats.are_believed(now) for now in (100, 103, 105)] == [False, False, True]


def test_after_an_outage_all_have_time_to_show_that_they_live() -> None:
    beats = Beats(10, now=100)
    assert [beats.are_believed(now) for now in (111, 114, 120, 121)] == [False, False, False, True]


def test_a_second_outage_counts_anew() -> None:
    beats = Beats(10, now=100)
    assert [beats.are_believed(now) for now in (111, 130, 135, 140)] == [False, False, False, True]
