"""Ctrl-C loses nothing that is worth keeping."""

from __future__ import annotations

import os
import signal

import pytest

from tailort.cli.progress import Interrupt, Progress, interruptible


def test_before_there_is_a_result_ctrl_c_ends_the_work_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGINT)


def test_with_a_result_the_first_ctrl_c_asks_and_the_second_ends() -> None:
    with interruptible() as interrupt:
        interrupt.keep()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_of_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_was_asked_until_somebody_asks() -> None:
    assert not Interrupt().asked()


def test_progress_is_silent_when_stderr_is_not_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress("stage", 0.5)
    assert capfd.readouterr() == ("", "")
