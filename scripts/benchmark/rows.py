"""The rows of the table that load measures: each contender in turn, in rounds, and the medians compared."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlencode

from benchmark.answers import TOKEN_FORM, Check, Client
from benchmark.contenders import HERE_NAME, LIMIT_NAME, PEER_NAME, Contender, Place
from benchmark.load import Request, Run, run_load
from benchmark.results import Goal, Row

_TOKEN: Final = (urlencode(TOKEN_FORM),)
_INTROSPECTED: Final = 200
"""Tokens that are asked about in turn."""
_MANY_CONNECTIONS: Final = 256
_LEAST_SECONDS: Final = 10
"""Of a run with many connections: else their handshakes at its begin are among the slowest hundredth."""
_WORKERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how long each contender is asked, in whole seconds."""

    rounds: int
    seconds: int
    warm_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A contender, what it is asked, and how its answers are judged."""

    contender: Contender
    request: Request
    check: Check


class LoadRows:
    """Measures with the contenders of a place, which all run the whole time."""

    def __init__(self, place: Place, pace: Pace) -> None:
        self._place = place
        self._pace = pace
        self._contenders = place.start(HERE_NAME, PEER_NAME, LIMIT_NAME)
        self.foreign_shares = list[float]()
        """What others had of the contender's core, for each run that counts."""

    def token_by_new_connection(self) -> list[Row]:
        """A token over a TLS 1.3 connection of its own each, compared with the peer and with a constant."""
        runs = self._compare([self._token_lane(name, is_new=True) for name in (HERE_NAME, PEER_NAME, LIMIT_NAME)])
        goals = [_times(runs, PEER_NAME, 2.5), _times(runs, LIMIT_NAME, 0.8)]
        return [_row("token-new", "token, a new mutual TLS 1.3 connection each", runs, goals)]

    def token_by_kept_connection(self) -> list[Row]:
        """Tokens over connections that stand."""
        runs = self._compare([self._token_lane(name, is_new=False) for name in (HERE_NAME, PEER_NAME)])
        return [_row("token-kept", "token, kept-alive connections", runs, [_times(runs, PEER_NAME, 2.0)])]

    def introspection(self) -> list[Row]:
        """Introspection over connections that stand."""
        runs = self._compare([self._introspection_lane(name) for name in (HERE_NAME, PEER_NAME)])
        return [_row("introspection", "introspection, kept-alive connections", runs, [_times(runs, PEER_NAME, 2.0)])]

    def tail(self) -> list[Row]:
        """The slowest hundredth with many connections, kept and new."""
        goals, measured, cells = [], dict[str, object](), []
        for title, is_new in (("kept", False), ("new", True)):
            lane = self._token_lane(HERE_NAME, is_new=is_new)
            lane = dataclasses.replace(lane, request=dataclasses.replace(lane.request, connections=_MANY_CONNECTIONS))
            runs = self._compare([lane], seconds=max(_LEAST_SECONDS, self._pace.seconds))[HERE_NAME]
            p50, p99 = (median(getattr(run, name) for run in runs) for name in ("p50_seconds", "p99_seconds"))
            goals.append(Goal(figure=p99 / p50, bound=3.0, is_least=False, unit=f"times p50, {title}"))
            cells.append(f"{title}: {p99 * 1e3:.0f} ms, p50 {p50 * 1e3:.0f} ms")
            measured[title] = [dataclasses.asdict(run) for run in runs]
        figures = {HERE_NAME: "; ".join(cells)}
        return [Row(key="tail", title="p99 with 256 connections", figures=figures, goals=goals, measured=measured)]

    def workers(self) -> list[Row]:
        """What two workers would do on two free cores at least, told from what a token costs each.

        On two cores there is none left for the load. Workers share nothing while they answer, so that their number
        times what one can do is what they do, unless a token costs more when there are two: that is what is measured.
        Both are on one core, and pay for being switched between, which on cores of their own they would not.
        """
        request = Request(path="/token", forms=_TOKEN, is_new=True)
        for_two = dataclasses.replace(request, connections=_WORKERS * request.connections)  # as many for each worker
        with self._place.alone() as one_worker, self._place.alone(workers=_WORKERS) as two_workers:
            lanes = [
                self._lane(dataclasses.replace(one_worker, name="one"), request),
                self._lane(dataclasses.replace(two_workers, name="two"), for_two),
            ]
            runs = self._compare(lanes)
        one, two = (_seconds(each) for each in runs.values())
        row = Row(
            key="workers",
            title="two workers over one, at least, from the processor time of a token on one core",
            figures={HERE_NAME: f"{one * 1e6:.0f} µs by one, {two * 1e6:.0f} µs by two"},
            goals=[Goal(figure=_WORKERS * one / two, bound=1.8, is_least=True, unit="times one")],
            measured={name: [dataclasses.asdict(run) for run in each] for name, each in runs.items()},
        )
        return [row]

    def _token_lane(self, name: str, *, is_new: bool) -> Lane:
        return self._lane(self._contenders[name], Request(path="/token", forms=_TOKEN, is_new=is_new))

    def _introspection_lane(self, name: str) -> Lane:
        contender = self._contenders[name]
        with Client(contender, self._place.certificates) as client:
            request = Request(
                path=client.introspection_path, forms=client.introspection_forms(_INTROSPECTED), is_new=False
            )
            return Lane(contender=contender, request=request, check=client.introspection_check())

    def _lane(self, contender: Contender, request: Request) -> Lane:
        with Client(contender, self._place.certificates) as client:
            return Lane(contender=contender, request=request, check=client.token_check())

    def _compare(self, lanes: Sequence[Lane], *, seconds: int | None = None) -> dict[str, list[Run]]:
        """Runs of each lane in turn, after a warm-up; then every answer is judged."""
        runs: dict[str, list[Run]] = {lane.contender.name: [] for lane in lanes}
        answers = list[tuple[Lane, Path]]()
        for turn in range(self._pace.rounds + 1):
            for lane in lanes:
                file = self._place.folder / f"{lane.contender.name}-{turn}.answers"
                lasts = (seconds or self._pace.seconds) if turn else self._pace.warm_up
                run = run_load(lane.contender, lane.request, seconds=lasts, answers=file)
                answers.append((lane, file))
                if turn:
                    runs[lane.contender.name].append(run)
                    self.foreign_shares.append(run.foreign_share)
        for lane, file in answers:
            lane.check(file)
            file.unlink()
        return runs


def _rate(runs: Sequence[Run]) -> float:
    return median(run.requests_per_second for run in runs)


def _seconds(runs: Sequence[Run]) -> float:
    return median(run.server_seconds for run in runs)


def _times(runs: Mapping[str, Sequence[Run]], other: str, bound: float) -> Goal:
    figure = _rate(runs[HERE_NAME]) / _rate(runs[other])
    by_time = _seconds(runs[other]) / _seconds(runs[HERE_NAME])
    unit, remark = f"times the {other}", f"{by_time:.3g} by processor time"
    return Goal(figure=figure, bound=bound, is_least=True, unit=unit, remark=remark)


def _row(key: str, title: str, runs: Mapping[str, Sequence[Run]], goals: Sequence[Goal]) -> Row:
    figures = {name: f"{_rate(each):,.0f}/s, {_seconds(each) * 1e6:.0f} µs" for name, each in runs.items()}
    measured = {name: [dataclasses.asdict(run) for run in each] for name, each in runs.items()}
    return Row(key=key, title=title, figures=figures, goals=goals, measured=measured)
