"""The guard over the clock, with clocks that are set by hand."""

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from hanaper import RELEASED, __version__
from hanaper.clock import LONGEST_QUESTION_S, MOST_APART_S, MOST_BACK_S, ClockWrong, GuardedClock

NOON = datetime(2027, 5, 1, 12, tzinfo=UTC)
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


class Machine:
    """A machine with two clocks, and maybe a database with a third, all right at noon."""

    def __init__(self, *, referee: bool) -> None:
        self.wall = NOON.timestamp()
        self.monotonic = 5000.0
        self.others = NOON.timestamp()
        self.lines: list[EventDict] = []
        with capture_logs() as self.lines:
            self.clock = GuardedClock(referee=referee, wall=lambda: self.wall, monotonic=lambda: self.monotonic)
        if referee:
            self.compare()

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
        self.others += seconds

    def sleep(self, seconds: float) -> None:
        """Be suspended."""
        self.wall += seconds
        self.others += seconds

    def compare(self, *, took: float = 0.0) -> None:
        with capture_logs() as lines:
            self.clock.compare(self.others, asked=self.monotonic - took, told=self.monotonic)
        self.lines += lines

    def says(self) -> datetime | str:
        """The time it gives, or why it gives none."""
        with capture_logs() as lines:
            try:
                found: datetime | str = self.clock()
            except ClockWrong as error:
                found = str(error)
        self.lines += lines
        return found

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(line["log_level"], line["event"].split(":")[0].split(",")[0]) for line in self.lines]


WRONG = ("error", "the clock is wrong")
RIGHT = ("warning", "the clock is right again")
AHEAD = ("warning", "the clock jumped ahead")


@pytest.fixture(params=[False, True], ids=["alone", "compared"])
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(referee=request.param)


@pytest.fixture
def alone() -> Machine:
    return Machine(referee=False)


@pytest.fixture
def compared() -> Machine:
    return Machine(referee=True)


def test_a_right_clock_says_the_time_and_nothing_else(machine: Machine) -> None:
    for hours in range(100):
        assert machine.says() == NOON + timedelta(hours=hours)
        machine.go_on(3600)
    assert machine.events == []


@pytest.mark.parametrize("back", [0.5, 1.5, MOST_BACK_S])
def test_a_little_back_lets_the_last_time_stand_still(machine: Machine, back: float) -> None:
    assert machine.says() == NOON
    machine.wall -= back
    assert machine.says() == NOON
    machine.go_on(back / 2)
    assert machine.says() == NOON
    machine.go_on(back / 2 + 1)
    assert machine.says() == NOON + timedelta(seconds=1)
    assert machine.events == []


def test_two_small_steps_back_at_once_are_a_large_one(machine: Machine) -> None:
    machine.says()
    machine.wall -= 4
    assert machine.says() == NOON
    machine.wall -= 4
    assert machine.says() == "it is 8 s behind what it said before"
    assert machine.events == [WRONG]


def test_small_steps_back_at_long_intervals_stay_small(machine: Machine) -> None:
    for _ in range(10):
        machine.go_on(100)
        machine.wall -= 4
        machine.others -= 4
        assert isinstance(machine.says(), datetime)
        machine.compare()
    assert machine.events == []


@pytest.mark.parametrize("back", [MOST_BACK_S + 1, 59, 3600, 86_400])
def test_far_back_is_wrong_until_it_is_set_right(machine: Machine, back: float) -> None:
    machine.says()
    machine.go_on(1000)
    # Nobody has asked since noon; it is wrong all the same.
    machine.wall -= back
    for _ in range(3):
        assert machine.says() == f"it is {back:.0f} s behind what it said before"
    machine.go_on(2)
    machine.wall += back
    assert machine.says() == NOON + timedelta(seconds=1002)
    machine.says()
    assert machine.events == [WRONG, RIGHT]


def test_it_is_right_again_when_it_has_caught_up(alone: Machine) -> None:
    """It was ahead, and has been corrected: there is nobody to say so, but no time is signed twice."""
    alone.says()
    alone.wall -= 30
    assert isinstance(alone.says(), str)
    alone.go_on(24)
    assert isinstance(alone.says(), str)
    alone.go_on(2)
    assert alone.says() == NOON, "the last five seconds it stands still"
    alone.go_on(5)
    assert alone.says() == NOON + timedelta(seconds=1)
    assert alone.events == [WRONG, RIGHT]


def test_before_this_release_is_wrong_from_the_start_and_later(machine: Machine) -> None:
    before = RELEASED.timestamp() - 1
    fresh = Machine(referee=False)
    fresh.wall = before
    fresh.clock = GuardedClock(referee=False, wall=lambda: fresh.wall, monotonic=lambda: fresh.monotonic)
    for each in (fresh, machine):
        each.wall = before
        said = f"it says {RELEASED - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}, before this release was made"
        assert each.says() == said
        each.wall = each.others
        assert each.says() == NOON
        assert each.events == [WRONG, RIGHT]


@pytest.mark.parametrize("ahead", [2, MOST_APART_S])
def test_a_little_ahead_is_nothing_to_speak_of(machine: Machine, ahead: float) -> None:
    machine.says()
    machine.wall += ahead
    assert machine.says() == NOON + timedelta(seconds=ahead)
    assert machine.events == []


def test_a_jump_ahead_that_nobody_can_judge_is_believed_and_told(alone: Machine) -> None:
    alone.says()
    alone.sleep(7200)
    for _ in range(3):
        assert alone.says() == NOON + timedelta(hours=2)
    assert alone.events == [AHEAD]
    assert alone.lines[0]["by_s"] == 7200


def test_after_a_jump_ahead_the_other_clock_is_asked_first(compared: Machine) -> None:
    compared.says()
    compared.sleep(7200)
    unasked = "it has not been compared with the database's since the start, or since it jumped ahead"
    assert [compared.says(), compared.says()] == [unasked, unasked]
    compared.compare()
    assert compared.says() == NOON + timedelta(hours=2)
    assert compared.events == [WRONG, RIGHT]


def test_a_jump_that_is_noticed_by_comparing_needs_no_second_comparison(compared: Machine) -> None:
    compared.says()
    compared.sleep(7200)
    compared.compare()
    assert compared.says() == NOON + timedelta(hours=2)


def test_a_jump_ahead_that_the_other_clock_did_not_make_is_wrong(compared: Machine) -> None:
    compared.says()
    compared.wall += 7200
    compared.says()
    compared.compare()
    assert compared.says() == "it is 7200 s ahead of the database's"
    compared.wall -= 7200
    assert compared.says() == NOON
    assert compared.events == [WRONG, RIGHT]


@pytest.mark.parametrize(("apart", "word"), [(61, "behind"), (-61, "ahead of")])
def test_another_clock_that_goes_away_makes_this_one_wrong(compared: Machine, apart: float, word: str) -> None:
    compared.says()
    compared.others += apart
    compared.compare()
    assert compared.says() == f"it is 61 s {word} the database's"
    compared.others -= apart
    compared.compare()
    assert compared.says() == NOON
    assert compared.events == [WRONG, RIGHT]


def test_it_says_nothing_before_it_was_compared(compared: Machine) -> None:
    fresh = GuardedClock(referee=True, wall=lambda: compared.wall, monotonic=lambda: compared.monotonic)
    with pytest.raises(ClockWrong, match="has not been compared"):
        fresh()


def test_an_answer_that_took_too_long_says_nothing(compared: Machine) -> None:
    compared.says()
    compared.others += 600
    compared.compare(took=LONGEST_QUESTION_S + 1)
    assert compared.says() == NOON
    compared.compare(took=LONGEST_QUESTION_S)
    assert compared.says() == "it is 605 s behind the database's"


def test_a_reading_that_was_interrupted_is_made_again(alone: Machine) -> None:
    """The process stands still between its two readings: neither clock has jumped."""
    alone.says()
    pauses = [30.0]

    def wall() -> float:
        seen = alone.wall
        if pauses:
            alone.go_on(pauses.pop())
        return seen

    clock = GuardedClock(referee=False, wall=wall, monotonic=lambda: alone.monotonic)
    pauses.append(30.0)
    with capture_logs() as lines:
        assert clock() >= NOON
        pauses.append(30.0)
        before = clock()
        assert clock() >= before
    assert lines == []


def test_threads_are_given_times_that_only_go_on() -> None:
    clock = GuardedClock(referee=False)
    seen: list[bool] = []

    def ask() -> None:
        times = [clock() for _ in range(2000)]
        seen.append(times == sorted(times))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 4


def test_this_release_is_not_older_than_its_changelog_says() -> None:
    """Set together with the version: CONTRIBUTING.md."""
    headings = [line.split() for line in CHANGELOG.read_text().splitlines() if line.startswith("## [")]
    dated = [(words[1].strip("[]"), date.fromisoformat(words[-1])) for words in headings if len(words) == 4]
    assert all(RELEASED.date() >= released for version, released in dated if version == __version__)
    assert datetime.now(UTC) >= RELEASED
    assert RELEASED.tzinfo is UTC
