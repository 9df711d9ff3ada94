"""The catalogue of queues is what is run, and its settings are refused where they make no sense."""

from typing import Any, get_args

import pytest

from offerhub import queues
from offerhub.operations.model import QueueName
from offerhub.reconciliation.model import JobType
from offerhub.runtime.jobs import Limit
from offerhub.settings import Settings, SettingsError, load


def settings(**variables: str) -> Settings:
    return load({"NODE_ENV": "test", "OFFERHUB_MASTER_KEY": "m" * 32, **variables})


def test_every_queue_and_every_comparison_is_in_the_catalogue() -> None:
    assert set(queues.NAMES) == set(get_args(QueueName))
    assert set(queues.COMPARISONS) == set(get_args(JobType))


def test_a_queue_keeps_its_pace_unless_a_setting_says_otherwise() -> None:
    usual = queues.concurrency(settings())
    assert usual == {"sagas": 32, "webhooks": 8, "webhook-deliveries": 16, "reconciliation": 1}
    assert queues.limits(settings()) == {}
    given = settings(QUEUE_CONCURRENCY="sagas=64, webhooks=1", QUEUE_RATE_LIMITS="webhooks=100/60,sagas=5/0.5")
    queues.check(given)
    assert queues.concurrency(given) == {**usual, "sagas": 64, "webhooks": 1}
    assert queues.limits(given) == {"webhooks": Limit(100, 60.0), "sagas": Limit(5, 0.5)}


def test_a_queue_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError) as refused:
        queues.check(settings(QUEUE_CONCURRENCY="saga=1", QUEUE_RATE_LIMITS="mail=1/1"))
    known = "sagas, webhooks, webhook-deliveries, reconciliation"
    assert refused.value.faults == [
        f"QUEUE_CONCURRENCY must name queues that there are: {known} (it names 'saga').",
        f"QUEUE_RATE_LIMITS must name queues that there are: {known} (it names 'mail').",
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"QUEUE_CONCURRENCY": "sagas"}, "<name>=<value> between commas"),
        ({"QUEUE_CONCURRENCY": "sagas=0"}, "the value of sagas is a whole number from 1 to 1000"),
        ({"QUEUE_CONCURRENCY": "sagas=1,sagas=2"}, "each name once"),
        ({"QUEUE_RATE_LIMITS": "sagas=10"}, "<jobs>/<seconds>"),
        ({"QUEUE_RATE_LIMITS": "sagas=0/1"}, "<jobs>/<seconds>"),
        ({"QUEUE_RATE_LIMITS": "sagas=1/0"}, "0.1 to 3600 seconds"),
        ({"SHUTDOWN_SECONDS": "-1"}, "a number of seconds from 0 to 600"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(variables: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(**variables)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, ("info", False)),
        ({"DEBUG": "bullmq:*"}, ("info", True)),
        ({"DEBUG": "bullmq:*", "LOG_LEVEL": "debug"}, ("debug", True)),
        ({"DEBUG": "bullmq:worker, http"}, ("debug", True)),
        ({"DEBUG": "*"}, ("debug", True)),
        ({"DEBUG": "1"}, ("debug", False)),
    ],
)
def test_debug_turns_the_log_of_the_queues_up(variables: dict[str, Any], found: tuple[str, bool]) -> None:
    server = settings(**variables).server
    assert (server.log_level, server.log_queues) == found
