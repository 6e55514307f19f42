"""A case is in the partition that Java's Kafka client would choose for its key."""

from uuid import UUID

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from casebook.events.kafka import murmur2, partition

# The vectors of the Java client's own test (org.apache.kafka.common.utils.UtilsTest).
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA)
def test_the_hash_is_that_of_the_java_client(key: str) -> None:
    assert murmur2(key.encode()) == JAVA[key]


@given(st.binary(max_size=64))
def test_the_hash_agrees_with_aiokafka(key: bytes) -> None:
    assert murmur2(key) & 0x7FFFFFFF == aiokafka_murmur2(key) & 0x7FFFFFFF


def test_a_partition_is_the_positive_hash_modulo_the_partitions() -> None:
    assert partition("21") == (-973932308 & 0x7FFFFFFF) % 12
    assert partition("21", 6) == (-973932308 & 0x7FFFFFFF) % 6
    assert partition("请求-0001") == (murmur2("请求-0001".encode()) & 0x7FFFFFFF) % 12


def test_cases_spread_over_all_partitions() -> None:
    counts = [0] * 12
    for number in range(6000):
        counts[partition(str(UUID(int=number * 2**64 + 7)))] += 1
    assert min(counts) > 400
    assert max(counts) < 600
